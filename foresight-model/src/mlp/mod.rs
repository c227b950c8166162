//! The network that says whether a move should be made: 16 features, 10 rectified units, one number. Owns it in floating point
//! and its training; [`crate::quantise`] makes of it what the kernel has.

mod network;
mod standard;
mod train;

pub use network::{Example, HIDDEN, Network, PARAMETERS};
pub use standard::Standard;
pub use train::{Schedule, train};
