//! Which long-running groups of processes share a physical core: which cores there are ([`topology`]), which groups
//! ([`groups`]), how fast they run ([`counters`]), what a pairing is worth ([`model`]), which is the best ([`plan`]), whether it
//! proves so ([`trial`]), and when what is done ([`core`]). [`daemon`] is the service that does it, by [`config`]; what came of it
//! is in [`history`]. [`profile`] finds out what a group makes of a core, by an [`injector`] after the other, if somebody asks for it.
//!
//! Nothing here changes anything on a machine but files of its own ([`store`]) and where threads may run ([`affinity`]), which
//! is undone.

pub mod affinity;
pub mod cli;
pub mod config;
pub mod core;
pub mod counters;
pub mod daemon;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod groups;
pub mod history;
pub mod injector;
pub mod model;
pub mod plan;
pub mod profile;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod store;
pub mod surroundings;
pub mod topology;
pub mod trial;
mod usage;
