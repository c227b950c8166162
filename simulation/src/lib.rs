//! Machines that are made up, on which the real decisions try schedulers. What is true of each scheduler is known here, so that it can be
//! said how often a trial is wrong about it, what that costs, and whether any limit was ever broken.

mod bars;
mod load;
mod world;

pub use bars::{Bar, Runs, bars};
pub use load::{Load, Noise, Truth};
pub use world::{Broken, People, Told, World};
