//! The virtual machines of one host: on which CPU each of their vCPUs runs ([`cpu`]) and how much memory each has
//! ([`memory`]), decided from what is seen of them ([`snapshot`]) and without asking anybody ([`core`]).
//!
//! What decides reads and changes no machine: what is seen comes in and what is to be done goes out as data. A [`host`] sees and
//! does it, the [`controller`] takes the one to the other, and the [`daemon`] is the service around it. It is tried on hosts that are
//! made up ([`simulation`]), also such as somebody describes ([`scenario`]).

pub mod action;
pub mod cli;
pub mod config;
pub mod controller;
pub mod core;
pub mod cpu;
pub mod daemon;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod host;
pub mod kernel;
pub mod libvirt;
pub mod memory;
pub mod moment;
pub mod monitor;
pub mod qmp;
pub mod remembered;
pub mod scenario;
pub mod simulation;
pub mod snapshot;
pub mod topology;
pub mod whose;
