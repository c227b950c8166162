//! The program `auto-ext`.
//!
//! Data flows one way: [`auto_ext_profiler`] measures, [`auto_ext_core`] decides, `daemon` has the decision
//! carried out by [`auto_ext_scx`] and shown by `api`.

mod api;
pub mod cli;
mod daemon;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod import;
mod metrics;
mod page;
mod persistence;
mod scx_loader;
mod sources;
pub mod trace;
