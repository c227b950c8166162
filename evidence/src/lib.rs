//! Whether a challenger is better than what it is compared with, pure. A [`Plan`] says in which order turns are made; two
//! neighbouring turns are a pair and make a [`LogRatio`]; pairs make [`Evidence`], which may be looked at after each, and
//! an [`Effect`], which says how large the difference is. A [`Halving`] finds the best of many, of which pairs then tell how
//! good it is. [`Settling`] says for how long a scheduler runs before its turn is measured.
//!
//! What a turn is and how it is measured is for whoever makes it.

mod carry_over;
mod effect;
mod evidence;
mod halving;
mod median;
mod plan;
mod ratio;
#[cfg(test)]
mod simulation;

pub use carry_over::{SETTLE, Settling, still_shows};
pub use effect::{Effect, Interval};
pub use evidence::{Design, Evidence, MAX_PAIRS, MIN_PAIRS, Verdict};
pub use halving::{Halving, Standing};
pub use median::median;
pub use plan::{Arm, Pair, Plan};
pub use ratio::{Better, LogRatio, NotPositive};
