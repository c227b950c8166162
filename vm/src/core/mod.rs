//! The decisions: what is done about what is seen. Pure: no I/O, no clock.
//!
//! Everything comes in as an [`Event`] with the moment at which it happened; everything to be done comes out as an
//! [`Action`](crate::action::Action). The two halves know nothing of each other.

mod decide;
mod event;
mod explain;
mod state;

#[cfg(test)]
mod tests;

pub use decide::decide;
pub use event::{End, Event};
pub use explain::{explain, of_guest, of_vcpus};
pub use state::State;
