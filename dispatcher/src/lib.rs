//! Runs the sched_ext scheduler that suits what the machine is doing.
//!
//! Data flows one way: [`auto_ext_profiler`] measures, [`core`] decides, `daemon` has the decision
//! carried out by `switch` and shown by `bus`. What the kernel runs is always asked of [`kernel`].

mod appetite;
mod boots;
mod budget;
mod bus;
mod cgroup;
mod children;
pub mod cli;
mod clock;
mod commands;
pub mod core;
mod daemon;
mod daemon_lock;
mod duration;
mod ending;
mod exit;
mod file_capabilities;
mod foreign;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod history;
mod idle_latency;
pub mod kernel;
mod kernel_log;
pub mod known;
mod lock;
mod metrics;
mod plain;
pub mod policy;
mod policy_watch;
mod priority;
mod processes;
pub mod program;
mod reach;
mod recorder;
pub mod replay;
mod report;
mod reputation;
mod request;
mod scheduler_output;
mod scheduler_process;
mod state_file;
mod struct_ops;
mod surroundings;
mod switch;
pub mod trace;
mod uevent;
mod window_timer;
