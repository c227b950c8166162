//! What is known of a process: all that rules about applications ask for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How many processes are followed at most; further ones are ignored until others end.
pub const MAX_PROCESSES: usize = 32_768;

/// How many ancestors of a process are known at most, the nearest.
pub const MAX_ANCESTORS: usize = 32;

/// A running process, as /proc shows it. In its texts bytes that are not UTF-8 are replaced by U+FFFD and control
/// characters left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name as the kernel has it: at most 15 bytes.
    pub comm: String,
    /// The path of its program; empty when that cannot be read. A program that was replaced or
    /// removed meanwhile keeps its path.
    pub executable: String,
    /// The program as its command line has it, which the process itself can choose; wine puts the
    /// Windows path of the program there. It is the first word, or the part before the options of a process that
    /// writes all of them into the first word. Empty when there is none; at most 4096 bytes are read.
    pub argv0: String,
    /// Its cgroup below the root of the (version 2) hierarchy, such as
    /// `/system.slice/ssh.service`; empty when that cannot be read.
    pub cgroup: String,
    /// The programs that led to it, the nearest first: what it ran itself before, what the process ran that started it, and
    /// so on, whether or not they still run. At most [`MAX_ANCESTORS`]; empty where nobody asks for them. Each is as it was
    /// when it was last seen, without its cgroup and its own ancestors; of one that ended before it was read, only what the
    /// kernel called it is known, which is then its `argv0` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Arc<Process>>,
}

/// A change of the machine's processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEvent {
    /// A process began, or one that was known under the same number changed: it runs another
    /// program, has another name or is in another cgroup.
    Started(Process),
    /// A process that was known ended.
    Ended {
        /// Its number.
        pid: u32,
    },
    /// Events were lost, or there were none before: these are all processes there are.
    All(Vec<Process>),
}
