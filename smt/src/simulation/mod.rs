//! A machine by chance, from a fixed seed, on which the decisions are tried: jobs that slow each other down in a way that only
//! this knows, a model that errs about it, counters with noise, jobs that change, come and go. What must hold is asserted by
//! the tests; `cargo xtask bench smt` makes as many runs as one has time for.

mod run;
#[cfg(test)]
mod tests;
mod world;

pub use run::{Report, run};
pub use world::{Counting, Gain, Scenario};
