//! Which long-running groups of processes share a physical core: which cores there are ([`topology`]), which groups
//! ([`groups`](mod@groups)), what a pairing is worth ([`model`]), and which is the best ([`plan`]).
//!
//! Nothing here changes anything on a machine.

mod bounded_file;
pub mod cpu_list;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod groups;
pub mod model;
pub mod plan;
pub mod topology;
