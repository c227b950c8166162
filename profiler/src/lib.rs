//! Reads what a machine is doing from the kernel. [`Profiler`] attaches BPF programs and reads their counters as
//! [`Sample`](auto_ext_signals::Sample)s; [`ProcessWatcher`] reports which processes begin, change and end;
//! [`Outcomes`], while there is one, how long tasks wait that are woken;
//! [`CpuTime`] what all CPUs did since boot.
//!
//! `auto-ext-signals` makes signals and levels of the samples. What these mean for scheduling is left to the policy.

mod attach;
mod bpf_log;
mod btf;
mod calibrate;
mod clock;
mod cpu_time;
mod cpus;
mod object;
mod outcomes;
mod proc;
mod process;
mod processes;
mod reclaim;
mod starts;
mod tracker;

pub use attach::Profiler;
pub use cpu_time::CpuTime;
pub use object::AttachError;
pub use outcomes::{LeftOut, Outcomes, OutcomesLoader};
pub use processes::ProcessWatcher;
