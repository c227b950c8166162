//! What other services on the bus report.

use auto_ext_policy::Profile;

/// A change that a service reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This power profile is active; `None`: no service says one.
    Profile(Option<Profile>),
    /// The machine is about to sleep or to shut down, if it `begins`; else it woke up, or does neither, which may be
    /// known already.
    Sleep { begins: bool },
    /// These keep the machine from becoming idle, by their own words; `None`: it is not known.
    Inhibited(Option<Vec<String>>),
}
