//! The service: turns what happens into events, has [`crate::core`] decide about them, and carries the actions out.
//!
//! `state` has what the daemon holds and what it does each second, `actions` carries out what was decided. `watch` looks at
//! processes, `known` makes of groups what there is to place, `counting` counts them by its own rhythm, `waits` how long they
//! wait for CPUs, `placing` has the ledger. `status` is what is shown, `metrics` the same for programs. `event_loop` waits for
//! what happens; `request` is what callers ask, `bus` how.
//!
//! Nothing waits for anybody: the loop is one thread that reads /proc and /sys, the bus another one.

mod actions;
mod bus;
mod counting;
mod event_loop;
mod known;
mod metrics;
mod placing;
mod request;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod waits;
mod watch;

pub use bus::{INTERFACE, PATH};
pub use counting::{Hardware, Source};
pub use event_loop::{Options, RunError, run};
pub use status::{GroupStatus, Status};
