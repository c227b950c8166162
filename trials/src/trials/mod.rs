//! All of trials: when one begins, what comes of its turns, and when it ends. `state` is what is remembered, `happens` takes in what
//! happens, `step` looks at how things stand and has a trial begin, `progress` has it go on, and `known` says what is known.

mod happens;
mod known;
mod progress;
mod state;
mod step;

pub use happens::MAX_CONSENT;
pub use state::{Consent, Deed, Situation, Trials};
