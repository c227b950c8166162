//! Which long-running groups of processes share a physical core: what a pairing is worth ([`model`]).
//!
//! Nothing here changes anything on a machine.

pub mod model;
