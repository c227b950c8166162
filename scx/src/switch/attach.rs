//! The new scheduler at its attach barrier: waiting until it has loaded, refusing it, answering its calls later.

use std::time::Duration;

use auto_ext_core::{Cause, Fault};
use auto_ext_policy::known;
use nix::errno::Errno;
use tokio::sync::watch;
use tokio::time::sleep;

use super::outcome::Failure;
use crate::attach_barrier::{AttachBarrier, BarrierError, Event, Pending};
use crate::process::SchedulerProcess;

const NO_PRIORITY: &str = "no hot swap here: it may decide in user space, and its attach barrier needs \
     a realtime priority (CAP_SYS_NICE)";

/// Why a scheduler did not attach; its process is still to be ended.
pub(super) enum NotAttached {
    /// There can be no attach barrier here.
    NoBarrier(String),
    /// CPUs are not what they were when it was started.
    Outdated,
    Failed(Failure),
}

impl From<Failure> for NotAttached {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Waits until `new` is loaded, verified and about to attach.
pub(super) async fn wait_until_pending(
    new: &mut SchedulerProcess,
    barrier: &mut AttachBarrier,
    within: Duration,
    cancel: &mut watch::Receiver<bool>,
) -> Result<Pending, NotAttached> {
    let limit = humantime::format_duration(within);
    tokio::select! {
        event = barrier.next() => match event {
            // While one that decides in user space waits for an answer, nothing else runs that it schedules.
            Ok(Event::AttachPending(pending)) if !barrier.supervisor_is_realtime()
                && known::may_decide_in_user_space(&new.scheduler().command) =>
            {
                let _ = barrier.refuse(pending, Errno::ECANCELED);
                Err(NotAttached::NoBarrier(NO_PRIORITY.to_owned()))
            }
            Ok(Event::AttachPending(pending)) => Ok(pending),
            Ok(Event::Gone) => Err(Failure::not_loaded(new.ended().await).into()),
            Err(error @ BarrierError::Unsupported { .. }) => {
                Err(NotAttached::NoBarrier(error.to_string()))
            }
            Err(error) => Err(Failure::of(Fault::New(Cause::NotLoaded), error.to_string()).into()),
        },
        end = new.ended() => Err(Failure::not_loaded(end).into()),
        () = sleep(within) => {
            Err(Failure::of(Fault::New(Cause::TooSlow), format!("not loaded {limit} after its start")).into())
        }
        () = cancelled(cancel) => Err(Failure::of(Fault::Cancelled, "cancelled").into()),
    }
}

/// Ends a scheduler that is not to attach, or not to stay.
pub(super) async fn end(
    new: &mut SchedulerProcess,
    barrier: &mut AttachBarrier,
) -> Result<(), String> {
    let loads = !barrier.is_open();
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
        // Its threads may hang in calls that are not answered any more, until they are killed.
        () = refuse_all(barrier) => stopped.await,
    }
}

/// Refuses whatever is about to attach while the barrier is closed. Ends only if the barrier breaks.
pub(super) async fn refuse_all(barrier: &mut AttachBarrier) {
    loop {
        match barrier.next().await {
            Ok(Event::AttachPending(pending)) => {
                let _ = barrier.refuse(pending, Errno::ECANCELED);
            }
            // The process itself is watched elsewhere.
            Ok(Event::Gone) => std::future::pending().await,
            Err(error) => {
                tracing::warn!("a scheduler's attach barrier: {error}");
                return;
            }
        }
    }
}

/// Keeps the barrier of a scheduler that has attached for as long as its process lives: its filter asks
/// whenever it opens a file.
pub(super) async fn keep(mut barrier: AttachBarrier, scheduler: String) {
    let mut logged = false;
    loop {
        match barrier.next().await {
            // Nothing is held up at an open barrier.
            Ok(Event::AttachPending(_)) => {}
            Ok(Event::Gone) => return,
            Err(error) if !logged => {
                tracing::warn!(scheduler, "the attach barrier of {scheduler}: {error}");
                logged = true;
            }
            Err(_) => {}
        }
    }
}

/// Waits until the switch is cancelled.
pub(super) async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        // Nobody is left who could cancel.
        std::future::pending::<()>().await;
    }
}
