//! Where threads may run: groups are given CPUs ([`pin()`]), each change is written down before it is made ([`Ledger`]), it
//! is looked whether they stay where they are ([`check()`]), and all of it is undone ([`restore()`]), by whoever comes later too.
//!
//! Only threads are touched that might run on all CPUs of their cgroup: whatever is narrower was placed by somebody. So undoing
//! means to let them run on all CPUs again, which also is right when CPUs come or the cgroup gets more. Masks pass on to what
//! a thread starts; therefore undoing looks also for what was never written down.

mod check;
mod ledger;
mod pin;
mod restore;
mod set;
#[cfg(test)]
mod tests;

pub use check::{Standing, check};
pub use ledger::{Change, DIRECTORY, Ledger, LedgerError};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use ledger::{line, parse};
pub use pin::{NotPinned, pin};
pub use restore::{Restored, restore};
pub use set::{Masks, Pretend, System};

/// Under this name processes are claimed, as no two services may place one.
pub const SERVICE: &str = "auto-ext-smt";
