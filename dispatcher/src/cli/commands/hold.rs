//! `auto-ext hold -- COMMAND`: keeps the scheduler that runs while a command runs. The command runs whether there is a hold
//! or not, and does not end when the hold does.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;

use super::child::{self, Signals};
use super::client::Ask;
use super::grant::{Grant, Wanted, warn};

/// Holds, runs the command and passes its exit code through.
pub(crate) async fn run(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, args) = command.split_first().context("no command to run")?;
    let mut signals = Signals::new()?;
    let mut hold = Grant::new(Wanted::Hold, program);
    let taken = tokio::select! {
        taken = hold.take(Ask::Person) => taken,
        // The command, which it would be passed on to, does not run yet.
        signal = signals.next() => return Ok(child::ended_by(signal)),
    };
    if let Err(error) = taken {
        warn(&format!(
            "the scheduler is not held, the command runs all the same: {error:#}"
        ));
    }
    child::run(program, args, &mut signals, &mut hold).await
}
