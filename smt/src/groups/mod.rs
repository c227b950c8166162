//! Which processes belong together, how busy they are, and whether they may be given cores. [`Processes`] is what /proc says,
//! [`groups()`] judges it and is pure.

mod eligible;
mod group;
mod process;
mod stat;
#[cfg(test)]
mod tests;

pub use eligible::{Confines, NotEligible};
pub use group::{Given, Group, GroupBy, Key, Rules, groups};
pub(crate) use process::threads;
pub use process::{MAX_THREADS, Process, Processes, TooMany, tids};
pub use stat::{Stat, stat};
