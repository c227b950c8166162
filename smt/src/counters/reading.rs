//! What counters say, whoever counts.

/// What was counted of some threads, and of all that they have started, since their counters were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Cycles of user space; nanoseconds on a CPU where the kernel itself counts.
    pub cycles: u64,
    /// Instructions of user space; page faults where the kernel itself counts.
    pub instructions: u64,
    /// For how long they ran, in nanoseconds of all threads together.
    pub enabled: u64,
    /// In how much of that it was counted.
    pub running: u64,
}

/// Counts the threads of one group.
pub trait Counters {
    /// Counts a thread from now on, with all that it starts. No thread twice: those that it starts are counted already.
    ///
    /// # Errors
    /// When it cannot be counted; those that are go on.
    fn open(&mut self, tid: u32) -> Result<(), NotCounted>;

    /// What was counted so far.
    ///
    /// # Errors
    /// When that cannot be known.
    fn read(&mut self) -> Result<Reading, NotCounted>;
}

/// Why threads are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// There is no PMU, as in most virtual machines.
    #[error("this machine has no counters of cycles and instructions")]
    Absent,
    /// Only who has CAP_PERFMON may; where kernel.perf_event_paranoid is 3 or more, which Debian's and Ubuntu's kernels know, only who
    /// has CAP_SYS_ADMIN.
    #[error(
        "not permitted: counting others needs CAP_PERFMON, and kernel.perf_event_paranoid of 2 at most"
    )]
    Denied,
    /// There are more than are counted.
    #[error("more than {0} threads")]
    TooManyThreads(usize),
    /// There are no more files to be had.
    #[error("too many open files")]
    TooManyFiles,
    /// The thread has ended, or there is nothing left to read.
    #[error("it has ended")]
    Ended,
    /// The kernel refuses it.
    #[error("the kernel refuses it: {0}")]
    Refused(nix::errno::Errno),
    /// What the kernel returned is no reading.
    #[error("the kernel returned something else than counts")]
    Garbled,
}
