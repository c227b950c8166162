//! At the gate of the new scheduler: waiting until it has loaded, turning it away, serving it later.

use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Failure;
use crate::core::{Cause, Fault};
use crate::gate::{Event, Gate, GateError, Pending};
use crate::known;
use crate::scheduler_process::SchedulerProcess;

const NO_PRIORITY: &str = "no hot swap here: it may decide in user space, and its gate needs a realtime priority (CAP_SYS_NICE)";

/// Why a scheduler was not let in; its process is still to be ended.
pub(super) enum NotThrough {
    NoGate(String),
    Outdated,
    Failed(Failure),
}

impl From<Failure> for NotThrough {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Waits until `new` stands at the door, loaded and verified.
pub(super) async fn loaded(
    new: &mut SchedulerProcess,
    gate: &mut Gate,
    within: Duration,
    cancel: &mut watch::Receiver<bool>,
) -> Result<Pending, NotThrough> {
    let limit = humantime::format_duration(within);
    tokio::select! {
        event = gate.next() => match event {
            // While one that decides in user space waits for an answer, nothing else runs that it schedules.
            Ok(Event::AtTheDoor(pending)) if !gate.goes_first()
                && known::may_decide_in_user_space(&new.scheduler().command) =>
            {
                let _ = gate.refuse(pending, Errno::ECANCELED);
                Err(NotThrough::NoGate(NO_PRIORITY.to_owned()))
            }
            Ok(Event::AtTheDoor(pending)) => Ok(pending),
            Ok(Event::Gone) => Err(Failure::not_loaded(new.ended().await).into()),
            Err(error @ GateError::Unsupported { .. }) => {
                Err(NotThrough::NoGate(error.to_string()))
            }
            Err(error) => Err(Failure::of(Fault::New(Cause::NotLoaded), error.to_string()).into()),
        },
        end = new.ended() => Err(Failure::not_loaded(end).into()),
        () = sleep(within) => {
            Err(Failure::of(Fault::New(Cause::TooSlow), format!("not loaded {limit} after its start")).into())
        }
        () = cancelled(cancel) => Err(Failure::of(Fault::Cancelled, "called off").into()),
    }
}

/// Ends a scheduler that is not to get in, or not to stay.
pub(super) async fn end(new: &mut SchedulerProcess, gate: &mut Gate) -> Result<(), String> {
    let loads = !gate.is_open();
    let stopped = async {
        if loads {
            new.stop_loading().await
        } else {
            new.stop().await.map(drop)
        }
    };
    tokio::pin!(stopped);
    tokio::select! {
        stopped = &mut stopped => stopped,
        // Its threads may hang in calls that nobody answers any more, until they are killed.
        () = turn_away(gate) => stopped.await,
    }
}

/// Watches a gate; who comes to its door while it is closed is turned away. Ends only if the gate breaks.
pub(super) async fn turn_away(gate: &mut Gate) {
    loop {
        match gate.next().await {
            Ok(Event::AtTheDoor(pending)) => {
                let _ = gate.refuse(pending, Errno::ECANCELED);
            }
            // The process itself is watched elsewhere.
            Ok(Event::Gone) => std::future::pending().await,
            Err(error) => {
                tracing::warn!("a scheduler's gate: {error}");
                return;
            }
        }
    }
}

/// Keeps the gate of a scheduler that went through for as long as its process lives: its filter
/// asks whenever it opens a file.
pub(super) async fn serve(mut gate: Gate, scheduler: String) {
    let mut said = false;
    loop {
        match gate.next().await {
            // Nobody is held up at an open gate.
            Ok(Event::AtTheDoor(_)) => {}
            Ok(Event::Gone) => return,
            Err(error) if !said => {
                tracing::warn!(scheduler, "the gate of {scheduler}: {error}");
                said = true;
            }
            Err(_) => {}
        }
    }
}

pub(super) async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        // Nobody is left who could cancel.
        std::future::pending::<()>().await;
    }
}
