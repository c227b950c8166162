//! Which processes belong together, how busy they are, and whether they may be given cores. [`Processes`] is what /proc says,
//! [`groups()`] judges it and is pure.

mod eligible;
mod group;
mod process;
mod stat;
#[cfg(test)]
mod tests;

pub use eligible::NotEligible;
pub use group::{Group, GroupBy, Key, Rules, groups};
pub use process::{MAX_THREADS, Process, Processes};
pub use stat::{Stat, stat};
