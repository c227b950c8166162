//! Measures what a machine is doing, in three steps of which only the first touches the kernel:
//!
//! 1. [`Profiler`] attaches the BPF programs and reads their counters: a [`Sample`].
//! 2. [`Signals::between`] turns two samples into shares of what this machine can do.
//! 3. [`LevelTracker`] turns signals into HIGH and LOW, with hysteresis.
//!
//! What the levels mean for scheduling is left to the dispatcher.

mod attach;
mod btf;
mod calibrate;
mod census;
mod level;
mod object;
mod proc;
mod process;
mod processes;
mod sample;
mod signal;

pub use attach::Profiler;
pub use level::{Level, LevelTracker, Levels, Threshold, Thresholds};
pub use object::AttachError;
pub use process::{MAX_PROCESSES, Process, ProcessEvent};
pub use processes::ProcessWatcher;
pub use sample::{Machine, Sample};
pub use signal::{Signal, Signals};
