//! The D-Bus side of the daemon.
//!
//! `bus` is the connection and what is announced on it. What can be read and called is in `interface`; `answers` has what
//! properties are answered from, `actions` what it takes to change something; who may call and how often is in the crate `bus`. `scx_loader` is another interface on the
//! same connection, `scx_loader_name` its name. `values` is what values of properties are kept in.

mod actions;
mod address;
mod answers;
mod bus;
mod interface;
mod scx_loader;
mod scx_loader_name;
mod values;

pub(crate) use address::{NAME, PATH};
pub(crate) use auto_ext_bus::join::{BusError, BusKind};
pub(crate) use bus::{Bus, BusConfig};
