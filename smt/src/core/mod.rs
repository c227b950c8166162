//! The decisions: when a placement is tried, kept and taken back. Pure: no I/O, no clock.
//!
//! Everything comes in as an [`Event`] with the moment at which it happened; everything to be done comes out as an [`Action`].
//! Whatever is odd leads back to what was found: `Restore` is always the way out.

mod decide;
mod event;
mod explain;
mod history;
mod knowledge;
mod learnt;
mod moment;
mod neighbours;
mod obstacle;
mod passive;
mod patience;
mod proof;
mod state;
mod trying;

#[cfg(test)]
mod tests;

pub use decide::{decide, proposals};
pub use event::{Action, Event, Observed};
pub use explain::explain;
pub use history::{Entry, Outcome};
pub use knowledge::{Candidate, Member, Situation};
pub use moment::Moment;
pub use neighbours::{CpuTime, Neighbour, Ran, neighbours};
pub use obstacle::{Explanation, Mode};
pub use passive::{MAX_NAME, MAX_SERIES, Passive, Series};
pub use patience::{Fruitless, Jobs};
pub use state::{Act, Config, State};
