//! Which long-running groups of processes share a physical core: which cores there are ([`topology`]), which groups
//! ([`groups`](mod@groups)), and what a pairing is worth ([`model`]).
//!
//! Nothing here changes anything on a machine.

mod bounded_file;
pub mod cpu_list;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod groups;
pub mod model;
pub mod topology;
