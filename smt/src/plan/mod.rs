//! Which workers share a core: from what each pairing is worth to the best plan that can be found soon, to cores of the machine
//! and masks. Pure. What a pairing is worth is for others to say.
//!
//! There is something to choose only while the workers are more than the cores and no more than their hardware threads
//! ([`Room`]). A plan is made greedily and made better by exchanges until none of two cores, or of three, makes it better. No
//! exact solver: what is left to gain is far less than what scores err by.

mod exchange;
mod greedy;
mod masks;
#[cfg(test)]
mod original;
mod place;
mod request;
mod room;
mod scores;
mod search;
#[cfg(test)]
mod tests;

pub use masks::masks;
pub use place::{Placement, place, steadiest};
pub use request::{Plan, Request, SAME};
pub use room::Room;
pub use scores::Scores;
pub use search::plans;
