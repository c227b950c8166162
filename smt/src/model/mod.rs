//! What a pairing is worth, by a model of how much the jobs on one core slow each other down. Pure.
//!
//! The model is that of SMTcheck: each job has [`Characteristics`] for each [`Resource`] that hardware threads share, and the
//! slowdown of a job beside another is linear in what both make of each resource. Jobs are known by what was measured of
//! them beside injectors ([`original`] reads such measurements), models by training ([`train()`]).

mod activation;
mod characteristics;
mod job;
mod machine;
mod nnls;
pub mod original;
mod resource;
mod score;
mod train;

#[cfg(test)]
mod tests;

pub use activation::activation;
pub use characteristics::{Absent, Beside, Characteristics, Ipc, Parallel, Port, Sequential};
pub use job::Job;
pub use machine::{Machine, Queue};
pub use resource::{Kind, Resource};
pub use score::{CpuModel, Feature, InvalidModel, SlowdownModel, pair_score};
pub use train::{Combination, MIN_JOBS, NotTrained, Pairwise, Training, Unfit, train};
