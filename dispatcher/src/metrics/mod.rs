//! What auto-ext counts and measures as metrics. Gathering them and writing them to files is left to the daemon.
//!
//! `open_metrics` has their names and texts, `prometheus` the older format, `counters` what only grows, over restarts of
//! the daemon; `server` answers HTTP, of which the page for
//! browsers is a part.

pub(crate) mod counters;
mod open_metrics;
mod prometheus;
pub(crate) mod server;
#[cfg(test)]
mod tests;

pub(crate) use open_metrics::{Snapshot, open_metrics};
pub(crate) use prometheus::prometheus;
