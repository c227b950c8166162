//! `auto-ext run SCHEDULER -- COMMAND`: leases a scheduler while a command runs. What cannot be had now does not keep the
//! command from running; what is wrong or not permitted does.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use auto_ext_core::Explanation;
use auto_ext_service::exit_code::{Code, WithCode};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

use super::child::{self, Signals};
use super::client::{Ask, Client};
use super::grant::{Grant, Wanted, warn};

/// How long the command waits for its scheduler; scx_lavd needs half a minute on a slow machine.
const RUNS_WITHIN: Duration = Duration::from_secs(60);
/// How long the switch to it may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);
/// How long a change may take to be announced.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Leases what is wanted, waits until it runs, runs the command and passes its exit code through.
pub(crate) async fn run(wanted: Wanted, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, args) = command.split_first().context("no command to run")?;
    let mut signals = Signals::new()?;
    let mut lease = Grant::new(wanted, program);
    let taken = tokio::select! {
        taken = take(&mut lease) => taken,
        signal = signals.next() => return Ok(child::ended_by(signal)),
    };
    match taken {
        Ok(()) => {}
        Err(error) if is_for_now(&error) => warn(&format!(
            "the scheduler does not run, the command does all the same: {error:#}"
        )),
        Err(error) => return Err(error),
    }
    child::run(program, args, &mut signals, &mut lease).await
}

async fn take(lease: &mut Grant) -> anyhow::Result<()> {
    lease.take(Ask::Person).await?;
    match lease.daemon() {
        Some(daemon) => runs(daemon, |why| why.mode == "held").await,
        None => Ok(()),
    }
}

/// Waits until what was leased runs; whether it is wanted by then `is_ours` says.
///
/// # Errors
/// When it does not, for now.
pub(super) async fn runs(
    daemon: &Client,
    is_ours: impl Fn(&Explanation) -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut changes = daemon.changes().await?;
    loop {
        let why: String = daemon.call("Why", &()).await?;
        let why: Explanation = serde_json::from_str(&why)?;
        let waits = why.waits.as_deref();
        let is_ours = is_ours(&why);
        if is_ours && waits.is_none() {
            return Ok(());
        }
        // A switch that was on its way may have to end first.
        let comes = why.switching || begun.elapsed() < BEGINS_WITHIN;
        if !is_ours || !comes || begun.elapsed() > RUNS_WITHIN {
            let waits = waits.map(|waits| format!("; {waits}")).unwrap_or_default();
            let (mode, desired, because) = (why.mode, why.desired, why.because);
            let rejected = why.rejected.into_iter();
            let rejected: String = rejected
                .map(|rejected| format!("; {} {}", rejected.candidate, rejected.why))
                .collect();
            let stands = format!("{mode}: {desired}, {because}{rejected}{waits}");
            return Err(WithCode::for_now(Code::Failed, stands));
        }
        // It is asked again when something changed, as who asks all the time is not answered.
        let _ = timeout(ASK_AGAIN, changes.next()).await;
    }
}

/// Whether the scheduler cannot be had only now: the caller did nothing wrong.
fn is_for_now(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<WithCode>();
    error.is_some_and(|error| error.is_for_now || error.code == Code::NoDaemon)
}
