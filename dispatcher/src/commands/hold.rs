//! `auto-ext hold -- COMMAND`: what runs stays while a command runs.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::client::Client;
use crate::exit;

/// Holds, runs the command and passes its exit code through.
pub(crate) async fn run(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, args) = command.split_first().context("no command to run")?;
    let client = Client::connect().await?;
    let name = Path::new(program).file_name().unwrap_or(program);
    let name: String = name
        .to_string_lossy()
        .chars()
        .filter(|char| !char.is_control())
        .take(60)
        .collect();
    let _cookie: u32 = client.call("Hold", &(name, "auto-ext hold")).await?;
    // A terminal sends these to the command too, which decides what comes of them.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut child = Command::new(program)
        .args(args)
        .spawn()
        .with_context(|| format!("`{}` cannot be run", program.to_string_lossy()))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    };
    // The hold ends with our connection.
    drop(client);
    Ok(exit::of_command(status))
}
