//! The next burst of a task: the CPU time from a wakeup to the next voluntary sleep. Owns what is known of a task, the features
//! of a wakeup, the prediction, and what follows from it, in the integers in which BPF programs compute all of it.
//!
//! Lengths are logarithms to base 2 of nanoseconds. What is learned is in [`crate::line`].

mod features;
mod gate;
mod rules;
mod task;

pub use features::{FEATURES, LEVEL, MAX_DEVIATION, Wakeup, deviation};
pub use gate::{ERROR_SHIFT, Gate, MIN_JUDGED};
pub use rules::{
    LAG_NS, LEAD_NS, MIN_PREDICTION_NS, PACE, PREEMPT_NS, Request, SLICE_MAX_NS, SLICE_MIN_NS,
    bound, charge, deadline, predict_ns, preempts, request,
};
pub use task::{AVERAGE_SHIFT, Burst, FIRST_AVERAGE, MIN_BURST_NS, Task};
