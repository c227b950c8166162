//! The service: turns what happens into events, has the core decide about them, and carries the actions out.
//!
//! `state` has what the daemon holds. `event_loop` waits for what happens, `kernel`, `machine` and `outcomes` make events
//! of it, and `requests` of what callers ask; `decisions` passes events to the core and carries its actions out.
//! `trials` is what trials are told and what is done for them with what `trial_work` holds, `measuring` the outcomes of their turns,
//! `learning` what people say of them.
//! `switching` is a switch on its way, `bus_connection` the bus, `metrics_export` the way of `metrics` to others; these
//! two are served on the thread of `callers`.

mod bus_connection;
mod callers;
mod decisions;
mod event_loop;
pub(crate) mod holders;
mod kernel;
mod learning;
mod loader;
mod machine;
mod measuring;
mod metrics;
mod metrics_export;
mod observed;
mod outcomes;
pub(crate) mod requests;
mod scx_loader;
mod state;
mod switching;
mod trial_work;
mod trials;

pub(crate) use event_loop::{LOCK, Options, run};
pub(crate) use state::state_directory;
