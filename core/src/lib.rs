//! The decisions. Pure: no I/O, no clock, nothing asynchronous.
//!
//! Everything comes in as an [`Event`] with the time it happened; everything to be done comes out
//! as an [`Action`]. The same events give the same decisions, here and in a replay.

mod act;
mod brief_loads;
mod cause;
mod choice;
mod choose;
mod core_scheduling;
mod decide;
mod event;
mod explain;
mod failures;
mod kernel_state;
mod leases;
mod limit;
mod mode;
mod moment;
mod pins;
mod record;
mod safe_mode;
mod state;
mod trial;

#[cfg(test)]
mod tests;

pub use cause::{Cause, End};
pub use choice::{Choice, Precedence};
pub use core_scheduling::CoreScheduling;
pub use decide::decide;
pub use event::{Action, Event, Fault};
pub use explain::{ConditionNow, Explanation, Rejected, RuleNow, SignalNow, explain, signals_now};
pub use failures::Failure;
pub use kernel_state::KernelState;
pub use leases::Lease;
pub use limit::{COMPARED_PER_HOUR, Counts};
pub use mode::{Mode, ObserveCause};
pub use moment::Moment;
pub use pins::Pin;
pub use state::{Hold, Running, State, Switch};
