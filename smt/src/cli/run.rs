//! `auto-ext-smt run`: the service, in the foreground.

use std::io;
use std::time::Duration;

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use crate::daemon::{self, Options};

/// How long it is looked how busy groups are until something is said.
pub(super) const ENOUGH: Duration = Duration::from_secs(60);

/// Runs until it is told to end.
pub(super) fn run(options: Options) -> Result<()> {
    log();
    daemon::run(options)?;
    Ok(())
}

/// Logs to standard error, which systemd passes on to the journal with the time.
fn log() {
    let filter = EnvFilter::try_from_env("AUTO_EXT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
}
