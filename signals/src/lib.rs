//! What a machine is doing, pure: two [`Sample`]s of counters make [`Signals`], mostly shares of what this machine can
//! do, and these make [`Levels`], HIGH and LOW with hysteresis. Also what is known of a [`Process`], and the
//! [`Outcome`] of a time for tasks that sleep.
//!
//! `auto-ext-profiler` reads the counters and the processes. What the levels mean for scheduling is the policy's.

mod formulas;
mod level;
mod outcome;
mod process;
mod sample;
mod signal;
mod windows;

pub use level::{Level, LevelTracker, Levels, Threshold, Thresholds};
pub use outcome::{Outcome, OutcomeTotals, WaitBucket, Waits};
pub use process::{MAX_ANCESTORS, MAX_PROCESSES, Process, ProcessEvent};
pub use sample::*;
pub use signal::{Signal, Signals};
pub use windows::Windows;
