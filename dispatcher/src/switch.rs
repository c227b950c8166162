//! Making the kernel run another scheduler: stop the old one, start the new one, ask the kernel.
//!
//! The one place that knows the order of these steps. What comes in is what runs and what is to
//! run; what goes out is what runs then, as the kernel says.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::children::{Children, is_of};
use crate::core::Fault;
use crate::kernel::{KernelState, SchedExt};
use crate::policy::{Candidate, Scheduler};
use crate::scheduler_process::SchedulerProcess;

/// How long a scheduler may take from its start until it is enabled. scx_lavd needs 17 s in an
/// emulated machine, and twice that when the machine is loaded.
const START_WITHIN: Duration = Duration::from_secs(90);
/// How long the kernel may take to let go of a scheduler whose process has ended.
const DISABLE_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// How a switch ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The scheduler of ours that runs now.
    pub(crate) running: Option<SchedulerProcess>,
    /// The old scheduler, and how it ended by itself instead of being stopped.
    pub(crate) crashed: Option<(Scheduler, String)>,
    /// What was to run.
    pub(crate) to: Candidate,
    /// Microseconds without an enabled scheduler between the old one and the new one; 0 when
    /// one of the two is the kernel's own. Or why `to` does not run.
    pub(crate) result: Result<u64, Failure>,
}

/// Why a switch came to nothing, and whose fault that is.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: String,
    pub(crate) fault: Fault,
}

impl Failure {
    fn of(fault: Fault, error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            fault,
        }
    }
}

/// Switches from `running` to `to`. When `cancel` becomes true, what is being started is stopped.
pub(crate) async fn switch(
    sched_ext: SchedExt,
    children: Children,
    mut running: Option<SchedulerProcess>,
    to: Candidate,
    mut cancel: watch::Receiver<bool>,
) -> Outcome {
    let mut crashed = None;
    let mut left_at = None;
    if let Some(old) = &mut running {
        let (stopped, left) = tokio::join!(stop(&sched_ext, old), left(&sched_ext));
        match stopped {
            Ok(how) => crashed = how.map(|how| (old.scheduler().clone(), how)),
            Err(error) => {
                let error = format!("{} could not be stopped: {error}", old.scheduler().name);
                let result = Err(Failure::of(Fault::Old, error));
                return Outcome {
                    running,
                    crashed,
                    to,
                    result,
                };
            }
        }
        left_at = Some(left);
    }
    let Candidate::Scheduler(scheduler) = &to else {
        return Outcome {
            running: None,
            crashed,
            to,
            result: Ok(0),
        };
    };
    match start(&sched_ext, &children, scheduler, &mut cancel).await {
        Ok(process) => {
            let gap = left_at.map_or(0, |at| {
                u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX)
            });
            Outcome {
                running: Some(process),
                crashed,
                to,
                result: Ok(gap),
            }
        }
        Err((running, failure)) => Outcome {
            running,
            crashed,
            to,
            result: Err(failure),
        },
    }
}

/// Ends a scheduler of ours and waits until the kernel has let go of it. Returns how it ended where
/// that was not our doing.
pub(crate) async fn stop(
    sched_ext: &SchedExt,
    process: &mut SchedulerProcess,
) -> Result<Option<String>, String> {
    let enabled = sched_ext.enable_seq();
    let crashed = process.stop().await?;
    let deadline = Instant::now() + DISABLE_WITHIN;
    loop {
        match sched_ext.read() {
            KernelState::Disabled | KernelState::Unsupported => return Ok(crashed),
            // Somebody else took the seat at once.
            KernelState::Enabled { .. } if sched_ext.enable_seq() != enabled => return Ok(crashed),
            state if Instant::now() >= deadline => {
                return Err(format!(
                    "its process has ended, but the kernel says {state:?}"
                ));
            }
            _ => sleep(POLL).await,
        }
    }
}

/// Waits until no scheduler is enabled any more, at most as long as `stop` takes at the most.
async fn left(sched_ext: &SchedExt) -> Instant {
    let deadline = Instant::now() + DISABLE_WITHIN;
    while matches!(sched_ext.read(), KernelState::Enabled { .. }) && Instant::now() < deadline {
        sleep(POLL).await;
    }
    Instant::now()
}

/// Starts `scheduler` and waits until the kernel says that it is enabled. With the failure comes the
/// process, if there still is one.
async fn start(
    sched_ext: &SchedExt,
    children: &Children,
    scheduler: &Scheduler,
    cancel: &mut watch::Receiver<bool>,
) -> Result<SchedulerProcess, (Option<SchedulerProcess>, Failure)> {
    ready(sched_ext)
        .await
        .map_err(|error| (None, Failure::of(Fault::Nobody, error)))?;
    let enabled_before = sched_ext.enable_seq();
    let mut process = SchedulerProcess::start(scheduler, children)
        .map_err(|error| (None, Failure::of(Fault::New, error.to_string())))?;
    let failure = tokio::select! {
        enabled = enabled(sched_ext, scheduler, enabled_before) => match enabled {
            Ok(()) => match process.has_ended() {
                None => return Ok(process),
                Some(how) => Failure::of(Fault::New, how),
            },
            Err(failure) => failure,
        },
        how = process.ended() => Failure::of(Fault::New, how),
        () = cancelled(cancel) => {
            Failure::of(Fault::Nobody, "called off, because auto-ext is stopping")
        }
    };
    // Whatever it did, it must not stay.
    match stop(sched_ext, &mut process).await {
        Ok(_) => Err((None, failure)),
        Err(error) => {
            let error = format!("{}; then it could not be stopped: {error}", failure.error);
            Err((Some(process), Failure { error, ..failure }))
        }
    }
}

/// Waits until the kernel has no scheduler, and is not about to have one.
async fn ready(sched_ext: &SchedExt) -> Result<(), String> {
    let deadline = Instant::now() + DISABLE_WITHIN;
    loop {
        match sched_ext.read() {
            KernelState::Disabled => return Ok(()),
            KernelState::Enabled { ops } => return Err(format!("`{ops}` is loaded")),
            state if Instant::now() >= deadline => {
                return Err(format!(
                    "the kernel is not ready for a scheduler: {state:?}"
                ));
            }
            _ => sleep(POLL).await,
        }
    }
}

/// Waits until the kernel says that `scheduler` is enabled, as the first since `enabled_before`.
async fn enabled(
    sched_ext: &SchedExt,
    scheduler: &Scheduler,
    enabled_before: Option<u64>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        let state = sched_ext.read();
        match &state {
            KernelState::Enabled { ops } if is_of(ops, scheduler) => {
                // The kernel counts a moment after it says `enabled`.
                let more = sched_ext
                    .enable_seq()
                    .zip(enabled_before)
                    .map(|(now, before)| now.wrapping_sub(before));
                match more {
                    Some(0) => sleep(POLL).await,
                    Some(1) | None => return Ok(()),
                    Some(_) => {
                        let error = format!("`{ops}` is enabled, but it is not the first since");
                        return Err(Failure::of(Fault::Nobody, error));
                    }
                }
            }
            KernelState::Enabled { ops } => {
                let error = format!("another scheduler, `{ops}`, was loaded first");
                return Err(Failure::of(Fault::Nobody, error));
            }
            _ if Instant::now() >= deadline => {
                let limit = humantime::format_duration(START_WITHIN);
                let error = format!("not enabled {limit} after its start");
                return Err(Failure::of(Fault::New, error));
            }
            _ => sleep(POLL).await,
        }
    }
}

async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        // Nobody is left who could cancel.
        std::future::pending::<()>().await;
    }
}
