//! A process as rules about applications see it.

/// What is known of a running process, from /proc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name as the kernel has it: at most 15 bytes.
    pub comm: String,
    /// The path of its program; empty when that cannot be read, as with kernel threads.
    pub executable: String,
    /// The first word of its command line, which the process itself can choose; wine puts the
    /// Windows path of the program there. Empty when there is none.
    pub argv0: String,
    /// Its cgroup below the root of the (version 2) hierarchy, such as
    /// `/system.slice/ssh.service`; empty when that cannot be read.
    pub cgroup: String,
}

/// What happened to the machine's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A process began to run a program. One that was known under the same number runs another.
    Started(Process),
    /// A process ended, or cannot be found any more.
    Ended {
        /// Its number.
        pid: u32,
    },
    /// Events were lost, or there were none before: these are all processes there are.
    All(Vec<Process>),
}
