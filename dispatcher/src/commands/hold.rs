//! `auto-ext hold -- COMMAND`: what runs stays while a command runs.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::client::Client;

/// Holds, runs the command and passes its exit code through: 128 and the signal's number where a
/// signal ended it, as shells do.
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
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
