//! Whether there is anything to choose.

/// How many workers there are for the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Each can have a core for itself, which the kernel sees to.
    TooFew,
    /// Some have to share a core, and none a hardware thread.
    Open,
    /// Some have to share a hardware thread: who is kept on some leaves others idle.
    TooMany,
}

impl Room {
    /// For so many workers of each group, on cores with so many hardware threads each.
    #[must_use]
    pub fn of(workers: &[u32], threads: &[usize]) -> Self {
        let workers: u64 = workers.iter().copied().map(u64::from).sum();
        let cpus: usize = threads.iter().sum();
        let is_more_than = |count: usize| u64::try_from(count).is_ok_and(|count| workers > count);
        match (is_more_than(threads.len()), is_more_than(cpus)) {
            (false, _) => Self::TooFew,
            (true, false) => Self::Open,
            (true, true) => Self::TooMany,
        }
    }
}
