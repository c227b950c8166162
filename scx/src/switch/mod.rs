//! Making the kernel run another scheduler.
//!
//! The one place that knows the order of the steps. What comes in is what runs and what is to run; what
//! goes out is what runs then, as the kernel says.
//!
//! - **Hot**: the new scheduler is loaded and verified while the old one runs, and held by its attach barrier
//!   just before it attaches. Only then the old one is stopped; whatever fails before leaves it untouched. If CPUs
//!   came or went meanwhile, the new one is loaded again before.
//! - **Cold**, where there can be no attach barrier: the old one is stopped, then the new one is started.
//!
//! Beside core scheduling nothing is loaded, and nothing that has been loaded may attach.

mod attach;
mod cold;
mod detach;
mod handover;
mod hot;
mod outcome;
mod transition;
mod wait;

use std::time::Duration;

use auto_ext_core::Fault;
use auto_ext_policy::{Candidate, Scheduler};
use tokio::sync::watch;

use crate::process::SchedulerProcess;
use crate::process::cgroup::Cgroups;
use crate::process::pm_qos::PmQos;
use crate::process::registry::ProcessRegistry;
use crate::struct_ops;
use crate::sysfs::SchedExt;
use handover::{Handover, hand_over};
use hot::NotHot;
pub use outcome::{Done, Failure, Outcome};
use transition::{NotRunning, Transition, core_scheduling_permits};
pub use wait::DISABLE_WITHIN;

/// How long a scheduler may take to load. scx_lavd needs 17 s in an emulated machine, and twice that
/// when the machine is loaded.
pub const LOAD_WITHIN: Duration = Duration::from_secs(90);
/// How often a scheduler is loaded at most, when CPUs come or go meanwhile.
const LOADS: usize = 3;

/// A switch to be made.
pub struct Switch {
    /// Where the kernel is asked.
    pub sched_ext: SchedExt,
    /// Where the processes of our schedulers are registered; the same for all switches.
    pub registry: ProcessRegistry,
    /// Where our schedulers get their limits; the same for all switches.
    pub cgroups: Cgroups,
    /// What is to run.
    pub to: Candidate,
    /// A scheduler that is not ours is asked to leave for it; else the switch fails while there is one.
    pub replace_foreign: bool,
    /// How long it may take to load; [`LOAD_WITHIN`] but in tests.
    pub load_within: Duration,
    /// How long the kernel may take to detach the old one; [`DISABLE_WITHIN`] but in tests.
    pub disable_within: Duration,
}

impl Switch {
    /// Makes it, from `running`, the scheduler of ours that runs. When `cancel` becomes true before
    /// the old scheduler was asked to leave, what is being loaded is stopped and the old one stays.
    ///
    /// To be polled in a tokio runtime by threads that outlive the schedulers, which the kernel kills when the thread
    /// ends that started them; not to be dropped before it has ended. It mostly takes a second or two; its limits add
    /// up to minutes.
    pub async fn make(
        self,
        running: Option<SchedulerProcess>,
        mut cancel: watch::Receiver<bool>,
    ) -> Outcome {
        if matches!(self.to, Candidate::Scheduler(_)) || self.replace_foreign {
            // Needed when it is about to attach, or to find out whose another scheduler is.
            tokio::task::spawn_blocking(struct_ops::prepare);
        }
        let mut transition = Transition {
            sched_ext: self.sched_ext,
            registry: self.registry,
            cgroups: self.cgroups,
            replace_foreign: self.replace_foreign,
            load_within: self.load_within,
            disable_within: self.disable_within,
            pm_qos: PmQos::default(),
            old: running,
            leaving: None,
            died: None,
        };
        let to = self.to;
        let (new, result) = match &to {
            Candidate::Kernel => {
                let detached = transition.detach_old(None).await;
                (None, detached.map(|_| Done::hot(0)))
            }
            Candidate::Scheduler(scheduler) => {
                match transition.start(scheduler, &mut cancel).await {
                    Ok((new, done)) => (Some(new), Ok(done)),
                    Err((new, failure)) => (new, Err(failure)),
                }
            }
        };
        let died = transition.old_has_died();
        let crashed = transition.wait_for_old(new.as_ref()).await;
        Outcome {
            running: new.or(transition.into_old()),
            crashed,
            died,
            to,
            result,
        }
    }
}

impl Transition {
    /// Has the kernel run `scheduler`, the hot way if that can be.
    async fn start(
        &mut self,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, Done), NotRunning> {
        if let Err(failure) = core_scheduling_permits().await {
            return Err((None, failure));
        }
        for _ in 0..LOADS {
            let why = match self.start_hot(scheduler, cancel).await {
                Ok((new, gap_us)) => return Ok((new, Done::hot(gap_us))),
                Err(NotHot::Failed(not_running)) => return Err(*not_running),
                Err(NotHot::Outdated) => {
                    let scheduler = &scheduler.name;
                    tracing::info!(scheduler, "a CPU came or went; loading it again");
                    continue;
                }
                Err(NotHot::NoBarrier(why)) => why,
            };
            let (new, gap_us) = self.start_cold(scheduler, cancel).await?;
            return Ok((new, Done::cold(gap_us, why)));
        }
        let error = "CPUs come and go faster than it loads";
        Err((None, Failure::of(Fault::Nobody, error)))
    }
}

/// Ends a scheduler of ours and waits until the kernel has detached it.
///
/// # Errors
/// When its process does not end even when killed, or the kernel does not detach it within [`DISABLE_WITHIN`].
pub async fn stop(
    sched_ext: &SchedExt,
    registry: &ProcessRegistry,
    process: &mut SchedulerProcess,
) -> Result<(), String> {
    let hand_over = hand_over(
        sched_ext.clone(),
        registry.clone(),
        process.pid(),
        None,
        DISABLE_WITHIN,
    );
    let (stopped, handover) = tokio::join!(process.stop(), hand_over);
    PmQos::default().ended(&process.pm_qos, None);
    stopped?;
    match handover {
        Handover::StillAttached(state) => Err(format!("the kernel still says {state:?}")),
        Handover::Detached { .. } | Handover::Overtaken { .. } | Handover::BarrierBroke(_) => {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
