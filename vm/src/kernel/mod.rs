//! What the kernel says of the host and of the threads that guests' vCPUs are, in /proc and /sys below a root that tests replace.
//! Whose processes these are is for others to say.

mod cgroup;
mod command_line;
mod cpus;
mod kept;
mod process;
mod texts;
mod threads;

#[cfg(test)]
mod tests;

pub use cgroup::Cpuset;
pub use command_line::StartedFor;
pub use kept::{Kept, make_room};
pub use process::{Pid, Process, Stat};
pub use texts::Kernel;
pub use threads::{Thread, Threads};
