//! Which long-running groups of processes share a physical core: which cores there are ([`topology`]), which groups
//! ([`groups`]), how fast they run ([`counters`]), what a pairing is worth ([`model`]), which is the best ([`plan`]), whether it
//! proves so ([`trial`]), and when what is done ([`core`]).
//!
//! Nothing here changes anything on a machine but files of its own ([`store`]) and where threads may run ([`affinity`]), which
//! is undone.

pub mod affinity;
pub mod core;
pub mod counters;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod groups;
pub mod model;
pub mod plan;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod store;
pub mod surroundings;
pub mod topology;
pub mod trial;
