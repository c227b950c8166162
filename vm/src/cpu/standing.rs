//! Why the CPU half does what it does.

/// What came of the last window.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Standing {
    /// Nothing has been measured yet, or too little to tell.
    #[default]
    Unknown,
    /// The CPUs are evenly used, or were not for a single window only.
    Even,
    /// So many vCPUs were pinned, and so many wait for the next window.
    Pinned(usize, usize),
    /// All vCPUs run on the CPUs of their guests' nodes, but for those that are left alone.
    OnTheirNodes,
    /// So many vCPUs were put on the CPUs of their guests' nodes, and so many wait for the next window.
    PinnedToNodes(usize, usize),
    /// It is watched whether the last pins did any good.
    Verifying,
    /// vCPUs were put back, as they waited longer on their new CPUs.
    PutBack(usize),
    /// No pins would make enough of a difference.
    NothingBetter,
    /// So many would be pinned, but that is kept from them for this reason.
    Kept(usize, String),
}
