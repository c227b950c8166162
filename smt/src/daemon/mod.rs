//! The service: turns what happens into events, has [`crate::core`] decide about them, and carries the actions out.
//!
//! `state` has what the daemon holds and what it does each second, `actions` carries out what was decided. `watch` looks at
//! processes, `known` makes of groups what there is to place, `counting` counts them by its own rhythm, `placing` has the
//! ledger. `status` is what is shown, `shown` makes it, `metrics` is the same for programs. `event_loop` waits for what happens; `request` is
//! what callers ask, `bus` how.
//!
//! Nothing waits for anybody: the loop is one thread that reads /proc and /sys, the bus another one.

mod actions;
mod bus;
#[cfg(feature = "simulation")]
mod cost;
mod counting;
mod event_loop;
mod known;
mod metrics;
mod placing;
mod request;
mod shown;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod watch;

pub use bus::{INTERFACE, PATH};
#[cfg(feature = "simulation")]
pub use cost::{count_windows, observe};
pub use counting::{Hardware, Source};
pub use event_loop::{Options, RunError, run};
pub use status::{GroupStatus, Status};
