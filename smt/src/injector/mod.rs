//! Programs that load one resource of a core, to see what a job beside them makes of it: [`Injector`] says which, [`run()`] is the
//! process that does it, [`Sizes`] how large the machine's resources are.
//!
//! `units` keeps ports busy, `memory` caches and the TLB, on any processor; `queues` fills queues, of which it has to be known how
//! long they are, on x86_64 alone. Nothing here counts or decides anything.

mod kinds;
mod level;
mod load;
mod memory;
mod process;
#[cfg(target_arch = "x86_64")]
mod queues;
mod sizes;
mod units;

pub use kinds::{Injector, NoInjector};
pub use level::Level;
pub use process::{LONGEST, NotRun, READY, run};
pub use sizes::Sizes;
