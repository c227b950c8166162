//! What a job makes of each resource of a core: it is counted alone, then beside injectors that load one resource after the other.
//! They slow it down, so it is done for a person who asks for it, and ends as soon as the job is harmed.
//!
//! [`Seats`] says on which CPUs who runs, [`Step`] what is measured one after the other, [`Harm`] when it is too much, [`run()`] does
//! it by a [`Lab`]; all of these are pure. [`Machine`] is the lab there is: processes and counters. Where the job runs is
//! said by [`crate::affinity`], as for any group.

mod harm;
mod lab;
mod run;
mod seats;
mod steps;

pub use harm::{Harm, TooMuch};
pub use lab::{Machine, Workload};
pub use run::{Budget, JOB, Lab, Look, Stop, run};
pub use seats::{NoSeats, Seats};
pub use steps::{Step, What, baselines, steps};
