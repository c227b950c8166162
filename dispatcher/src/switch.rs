//! Making the kernel run another scheduler.
//!
//! The one place that knows the order of the steps. What comes in is what runs and what is to run; what
//! goes out is what runs then, as the kernel says.
//!
//! - **Hot**: the new scheduler is loaded and verified while the old one runs, and held at the door of
//!   attaching by its gate. Only then the old one is stopped; whatever fails before leaves it untouched.
//!   If CPUs came or went meanwhile, it is loaded again before.
//! - **Cold**, where there can be no gate: the old one is stopped, then the new one is started.

mod door;
mod handover;
mod seat;
mod wait;

use std::time::Duration;

use tokio::sync::watch;

use crate::cgroup::Cgroups;
use crate::children::Children;
use crate::core::{Cause, End, Fault};
use crate::idle_latency::IdleLatency;
use crate::kernel::SchedExt;
use crate::policy::{Candidate, Scheduler};
use crate::scheduler_process::SchedulerProcess;
use crate::struct_ops;
use handover::{Handover, hand_over};
use seat::Seat;
pub(crate) use wait::DISABLE_WITHIN;

/// How long a scheduler may take to load. scx_lavd needs 17 s in an emulated machine, and twice that
/// when the machine is loaded.
pub(crate) const LOAD_WITHIN: Duration = Duration::from_secs(90);

/// How a switch ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The scheduler of ours that runs now.
    pub(crate) running: Option<SchedulerProcess>,
    /// The old scheduler, and how it ended by itself instead of being stopped.
    pub(crate) crashed: Option<(Scheduler, End)>,
    /// That was before the new one came: there was none for a while.
    pub(crate) died: bool,
    /// What was to run.
    pub(crate) to: Candidate,
    /// What was done, or why `to` does not run.
    pub(crate) result: Result<Done, Failure>,
}

/// A switch that was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Microseconds in which the kernel said `disabled` between two schedulers of ours; 0 when one of
    /// the two is the kernel's own.
    pub(crate) gap_us: u64,
    /// Why it could not be a hot one.
    pub(crate) cold_because: Option<String>,
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

    /// The failure of a scheduler that ended before it was let in.
    fn not_loaded(end: End) -> Self {
        let cause = match end.cause {
            cause @ (Cause::Killed | Cause::OutOfMemory) => cause,
            _ => Cause::NotLoaded,
        };
        Self::of(Fault::New(cause), end.text)
    }

    /// The failure of a scheduler that ended after it was let in.
    fn ended(end: End) -> Self {
        Self::of(Fault::New(end.cause), end.text)
    }
}

/// A switch to be made.
pub(crate) struct Switch {
    pub(crate) sched_ext: SchedExt,
    pub(crate) children: Children,
    pub(crate) cgroups: Cgroups,
    /// What is to run.
    pub(crate) to: Candidate,
    /// A scheduler that is not ours is asked to leave for it.
    pub(crate) replace_foreign: bool,
    /// How long it may take to load; [`LOAD_WITHIN`] but in tests.
    pub(crate) load_within: Duration,
    /// How long the kernel may take to let go of the old one; [`DISABLE_WITHIN`] but in tests.
    pub(crate) disable_within: Duration,
}

impl Switch {
    /// Makes it, from `running`, the scheduler of ours that runs. When `cancel` becomes true before
    /// the old scheduler was asked to leave, what is being loaded is stopped and the old one stays.
    pub(crate) async fn make(
        self,
        running: Option<SchedulerProcess>,
        mut cancel: watch::Receiver<bool>,
    ) -> Outcome {
        if matches!(self.to, Candidate::Scheduler(_)) || self.replace_foreign {
            // Needed when it stands at the door, or when it is asked whose the other is.
            tokio::task::spawn_blocking(struct_ops::prepare);
        }
        let mut seat = Seat::new(
            self.sched_ext,
            self.children,
            running,
            self.cgroups,
            self.replace_foreign,
            [self.load_within, self.disable_within],
        );
        let to = self.to;
        let (new, result) = match &to {
            Candidate::Kernel => (None, seat.free(None).await.map(|_| Done::hot(0))),
            Candidate::Scheduler(scheduler) => match seat.fill(scheduler, &mut cancel).await {
                Ok((new, done)) => (Some(new), Ok(done)),
                Err((new, failure)) => (new, Err(failure)),
            },
        };
        let died = seat.old_has_died();
        let crashed = seat.reap(new.as_ref()).await;
        Outcome {
            running: new.or(seat.into_old()),
            crashed,
            died,
            to,
            result,
        }
    }
}

impl Done {
    fn hot(gap_us: u64) -> Self {
        Self {
            gap_us,
            cold_because: None,
        }
    }

    fn cold(gap_us: u64, why: String) -> Self {
        Self {
            gap_us,
            cold_because: Some(why),
        }
    }
}

/// Ends a scheduler of ours and waits until the kernel has let go of it.
pub(crate) async fn stop(
    sched_ext: &SchedExt,
    children: &Children,
    process: &mut SchedulerProcess,
) -> Result<(), String> {
    let hand_over = hand_over(
        sched_ext.clone(),
        children.clone(),
        process.pid(),
        None,
        DISABLE_WITHIN,
    );
    let (stopped, handover) = tokio::join!(process.stop(), hand_over);
    IdleLatency::default().ended(&process.marks, None);
    stopped?;
    match handover {
        Handover::Kept(state) => Err(format!("the kernel still says {state:?}")),
        Handover::Freed { .. } | Handover::Lost { .. } | Handover::Shut(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
