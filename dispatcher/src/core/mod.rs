//! The decisions. Pure: no I/O, no clock, nothing asynchronous.
//!
//! Everything comes in as an [`Event`] with the time it happened; everything to be done comes out
//! as an [`Action`]. The same events give the same decisions, here and in a replay.

mod act;
mod cause;
mod choose;
mod decide;
mod event;
mod explain;
mod failures;
mod limit;
mod pins;
mod state;
mod trust;

#[cfg(test)]
mod tests;

pub use cause::{Cause, End};
pub use decide::decide;
pub use event::{Action, Event, Fault};
pub use explain::{ConditionNow, Explanation, Rejected, RuleNow, SignalNow, explain, signals_now};
pub use failures::Failure;
pub use pins::Pin;
pub use state::{Choice, Hold, Layer, Mode, ObserveCause, Running, State, Switch};

use std::time::Duration;

/// A moment: the time since some fixed one, for instance the start of the daemon or of a trace. It goes on
/// while the machine sleeps; what counts only while it is awake is moved on by [`Event::Slept`].
pub type Moment = Duration;
