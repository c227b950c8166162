//! `auto-ext metrics`: prints what is counted and measured, for Prometheus.

use std::io::{self, Write};
use std::process::ExitCode;

use super::client::Client;
use crate::metrics;

/// The text formats of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    Openmetrics,
    /// The older one, which promtool and node_exporter read.
    Prometheus,
}

/// Asks the daemon and prints.
pub(crate) async fn run(format: Format) -> anyhow::Result<ExitCode> {
    let client = Client::connect().await?;
    let text: String = client.call("Metrics", &()).await?;
    let text = match format {
        Format::Openmetrics => text,
        Format::Prometheus => metrics::prometheus(&text),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
