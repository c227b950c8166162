//! The D-Bus side of the daemon.
//!
//! `bus` is the connection and what is announced on it. What can be read and called is in `interface`; `answers` has what
//! properties are answered from, `properties` limits how often they are read, `authorization` says who may call, and
//! `callers` who calls and when they leave. `scx_loader` is another interface on the
//! same connection, `scx_loader_name` its name. `values` is what values of properties are kept in.

mod address;
mod answers;
mod authorization;
mod bus;
mod callers;
mod interface;
mod properties;
mod scx_loader;
mod scx_loader_name;
mod values;

pub(crate) use address::{NAME, PATH};
pub(crate) use bus::{Bus, BusConfig, BusError, BusKind};
