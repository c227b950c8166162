//! The model file: what was learned, kept over restarts and carried from `train` to `run`. Owns its format, how it is checked, and
//! whether it may be acted on here. [`crate::disk`] reads and writes it.

mod check;
mod format;
mod standing;

pub use check::{Invalid, MAX_FILE, Problem, parse, to_text};
pub use format::{FORMAT, Holdout, Model, Moves};
pub use standing::{Standing, Why, standing};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use check::sealed;
