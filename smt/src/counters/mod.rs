//! How fast groups run: cycles and instructions, counted by the kernel (`perf`), or as they were counted before ([`replay`]).
//!
//! What is counted is one thing, whether it may be believed another: [`pmu`] finds out once whether the processor's counters
//! count what is run, and [`speed`] judges each window. What was not counted is missing, never 0 and never what it was before.

mod event;
mod perf;
pub mod pmu;
mod reading;
pub mod replay;
#[cfg(test)]
mod tests;
mod window;

pub use perf::{Perf, raise_file_limit};
pub use reading::{Counters, NotCounted, Reading};
pub use window::{Metric, NoSpeed, speed};
