//! What a rule can ask for: a scheduler, or the kernel's own.

use std::fmt::{self, Write as _};

/// The candidate that means: no sched_ext scheduler, the kernel's own.
pub const KERNEL: &str = "kernel";

/// How much of a program and its arguments is shown in one line, in bytes.
pub const MAX_COMMAND_LINE: usize = 200;

/// A scheduler and how to run it. Its identity is its program with its arguments, see [`Self::is_same_as`]; the name is
/// only what a policy calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduler {
    /// The policy's name for it; the short name when a rule uses a known scheduler that the
    /// policy does not define.
    pub name: String,
    /// Its program: a file name that begins with `scx_`, to be searched for, or an absolute path.
    pub command: String,
    /// Its arguments, as written.
    pub args: Vec<String>,
}

/// What a rule may ask to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// The kernel's own scheduler, which is always available.
    Kernel,
    /// A sched_ext scheduler.
    Scheduler(Scheduler),
}

/// The name of the file at the path `command`. By it known schedulers are found, and the history names schedulers.
#[must_use]
pub fn file_name(command: &str) -> &str {
    command.rsplit('/').next().unwrap_or_default()
}

impl Scheduler {
    /// Whether both start the same program with the same arguments, whatever the policy calls them.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.command == other.command && self.args == other.args
    }

    /// The program with its arguments in one line, for people; what is longer than
    /// [`MAX_COMMAND_LINE`] is cut off.
    #[must_use]
    pub fn command_line(&self) -> String {
        let mut line = self.command.clone();
        for arg in &self.args {
            let needs_no_quotes =
                |char: char| !char.is_whitespace() && !char.is_control() && char != '"';
            if arg.is_empty() || !arg.chars().all(needs_no_quotes) {
                // Where it begins and ends is seen.
                let _ = write!(line, " {arg:?}");
            } else {
                line.push(' ');
                line.push_str(arg);
            }
            if line.len() > MAX_COMMAND_LINE {
                break;
            }
        }
        if line.len() > MAX_COMMAND_LINE {
            line.truncate(line.floor_char_boundary(MAX_COMMAND_LINE));
            line.push_str("...");
        }
        line
    }
}

impl Candidate {
    /// Whether both are the kernel's own scheduler, or the same program with the same arguments.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kernel, Self::Kernel) => true,
            (Self::Scheduler(one), Self::Scheduler(other)) => one.is_same_as(other),
            (Self::Kernel, Self::Scheduler(_)) | (Self::Scheduler(_), Self::Kernel) => false,
        }
    }

    /// The policy's name for it; [`KERNEL`] for the kernel's own scheduler.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Kernel => KERNEL,
            Self::Scheduler(scheduler) => &scheduler.name,
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
