//! The lines that say how far from its average a task's next burst will be. Owns how they are fitted from bursts that are over,
//! when they are handed out and withdrawn, and what is remembered of programs. What becomes of a line is in [`crate::burst`].
//!
//! All of it is *prequential*: a burst judges the line before the line learns from it.

mod equations;
mod fit;
mod learner;
mod programs;

pub use equations::{Equations, RIDGE};
pub use fit::{FORGET, Fit, JUMP, Losses, MIN_BURSTS, PERIODS, Verdict, quantised};
pub use learner::{Learner, MAX_IDLE, SLOTS, Seen, Write, slot};
pub use programs::{Group, MAX_GROUPS, MAX_NAME, MEMORY, Programs, group_name};
