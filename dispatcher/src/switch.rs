//! Making the kernel run another scheduler: stop the old one, start the new one, ask the kernel.
//!
//! The one place that knows the order of these steps. What comes in is what runs and what is to
//! run; what goes out is what runs then, as the kernel says.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::children::{Children, is_of};
use crate::kernel::{KernelState, SchedExt};
use crate::policy::{Candidate, Scheduler};
use crate::scheduler_process::SchedulerProcess;

/// How long a scheduler may take from its start until it is enabled. scx_lavd needs 17 s in an
/// emulated machine.
const START_WITHIN: Duration = Duration::from_secs(90);
/// How long the kernel may take to let go of a scheduler whose process has ended.
const DISABLE_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// How a switch ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The scheduler of ours that runs now.
    pub(crate) running: Option<SchedulerProcess>,
    /// What was to run.
    pub(crate) to: Candidate,
    /// Microseconds without an enabled scheduler between the old one and the new one; 0 when
    /// one of the two is the kernel's own. Or why `to` does not run.
    pub(crate) result: Result<u64, String>,
}

/// Switches from `running` to `to`. When `cancel` becomes true, what is being started is stopped.
pub(crate) async fn switch(
    sched_ext: SchedExt,
    children: Children,
    mut running: Option<SchedulerProcess>,
    to: Candidate,
    mut cancel: watch::Receiver<bool>,
) -> Outcome {
    let mut without_since = None;
    if let Some(old) = &mut running {
        without_since = Some(Instant::now());
        if let Err(error) = stop(&sched_ext, old).await {
            let error = format!("{} could not be stopped: {error}", old.scheduler().name);
            return Outcome {
                running,
                to,
                result: Err(error),
            };
        }
    }
    let Candidate::Scheduler(scheduler) = &to else {
        return Outcome {
            running: None,
            to,
            result: Ok(0),
        };
    };
    match start(&sched_ext, &children, scheduler, &mut cancel).await {
        Ok(process) => {
            let gap = without_since.map_or(0, |since| {
                u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
            });
            Outcome {
                running: Some(process),
                to,
                result: Ok(gap),
            }
        }
        Err(error) => Outcome {
            running: None,
            to,
            result: Err(error),
        },
    }
}

/// Ends a scheduler of ours and waits until the kernel has let go of it.
pub(crate) async fn stop(
    sched_ext: &SchedExt,
    process: &mut SchedulerProcess,
) -> Result<(), String> {
    process.stop().await?;
    let deadline = Instant::now() + DISABLE_WITHIN;
    loop {
        match sched_ext.read() {
            KernelState::Disabled | KernelState::Unsupported => return Ok(()),
            state if Instant::now() >= deadline => {
                return Err(format!(
                    "its process has ended, but the kernel says {state:?}"
                ));
            }
            _ => sleep(POLL).await,
        }
    }
}

/// Starts `scheduler` and waits until the kernel says that it is enabled.
async fn start(
    sched_ext: &SchedExt,
    children: &Children,
    scheduler: &Scheduler,
    cancel: &mut watch::Receiver<bool>,
) -> Result<SchedulerProcess, String> {
    match sched_ext.read() {
        KernelState::Disabled => {}
        KernelState::Enabled { ops } => return Err(format!("`{ops}` is already loaded")),
        state => {
            return Err(format!(
                "the kernel is not ready for a scheduler: {state:?}"
            ));
        }
    }
    let mut process =
        SchedulerProcess::start(scheduler, children).map_err(|error| error.to_string())?;
    let error = tokio::select! {
        enabled = enabled(sched_ext, scheduler) => match enabled {
            Ok(()) => match process.has_ended() {
                None => return Ok(process),
                Some(how) => how,
            },
            Err(error) => error,
        },
        how = process.ended() => how,
        () = cancelled(cancel) => "given up, because auto-ext is stopping".to_owned(),
    };
    // Whatever it did, it must not stay.
    match stop(sched_ext, &mut process).await {
        Ok(()) => Err(error),
        Err(stop_error) => Err(format!(
            "{error}; then it could not be stopped: {stop_error}"
        )),
    }
}

/// Waits until the kernel says that `scheduler` is enabled.
async fn enabled(sched_ext: &SchedExt, scheduler: &Scheduler) -> Result<(), String> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        let state = sched_ext.read();
        match &state {
            KernelState::Enabled { ops } if is_of(ops, scheduler) => return Ok(()),
            KernelState::Enabled { ops } => {
                return Err(format!("another scheduler, `{ops}`, was loaded first"));
            }
            _ if Instant::now() >= deadline => {
                let limit = humantime::format_duration(START_WITHIN);
                return Err(format!("not enabled {limit} after its start"));
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
