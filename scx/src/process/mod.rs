//! The process of a scheduler: which program it is, its limits, what it says, whether it is the one that the kernel
//! runs, and why it ended.

pub mod cgroup;
pub mod executable;
pub(crate) mod exit_reason;
mod file_capabilities;
mod output;
pub mod pm_qos;
pub mod registry;
mod scheduler_process;
mod spin_detector;
mod start;

pub use scheduler_process::{GONE_WITHIN, LEAVE_WITHIN, SchedulerProcess};
pub use start::StartError;
