//! Reads what a machine is doing from the kernel. [`Profiler`] attaches BPF programs and reads their counters as
//! [`Sample`](auto_ext_signals::Sample)s; [`ProcessWatcher`] reports which processes begin, change and end;
//! [`Outcomes`], while there is one, how long tasks wait that are woken;
//! [`CpuTime`] what all CPUs did since boot. What else tells how well a scheduler does: a [`Canary`] is woken the same under each,
//! [`LongestWait`] looks for who has waited longest by now, an [`EventCounter`] counts migrations or instructions,
//! [`Completions`] what disks and the network completed, and [`Energy`] is what the processors took.
//!
//! `auto-ext-signals` makes signals and levels of the samples. What these mean for scheduling is left to the policy.

mod attach;
mod bpf_log;
mod btf;
mod calibrate;
mod canary;
mod clock;
mod completions;
mod cpu_time;
mod cpus;
mod energy;
mod event_counter;
mod longest_wait;
mod object;
mod outcomes;
mod proc;
mod process;
mod processes;
mod reclaim;
mod starts;
mod tracker;

pub use attach::Profiler;
pub use canary::Canary;
pub use completions::Completions;
pub use cpu_time::CpuTime;
pub use energy::{Energy, EnergyError};
pub use event_counter::{CountError, Counted, EventCounter};
pub use longest_wait::LongestWait;
pub use object::AttachError;
pub use outcomes::{LeftOut, Outcomes, OutcomesLoader};
pub use processes::ProcessWatcher;
