//! What a switch works on: the old scheduler until it is gone, and what else the steps of a switch share.

use std::time::{Duration, Instant};

use auto_ext_core::{End, Fault};
use auto_ext_policy::Scheduler;
use tokio::task::JoinHandle;

use super::outcome::Failure;
use crate::core_scheduling;
use crate::process::SchedulerProcess;
use crate::process::cgroup::Cgroups;
use crate::process::pm_qos::{PmQos, PmQosSnapshot};
use crate::process::registry::ProcessRegistry;
use crate::sysfs::SchedExt;

/// From the scheduler of ours that the kernel runs, or none, to the next.
pub(super) struct Transition {
    pub(super) sched_ext: SchedExt,
    pub(super) registry: ProcessRegistry,
    pub(super) cgroups: Cgroups,
    pub(super) replace_foreign: bool,
    pub(super) load_within: Duration,
    pub(super) disable_within: Duration,
    pub(super) pm_qos: PmQos,
    pub(super) old: Option<SchedulerProcess>,
    /// The old one when the kernel has detached it and its process may still have to end.
    pub(super) leaving: Option<JoinHandle<(SchedulerProcess, Stopped)>>,
    /// The old one when it ended by itself while the new one was loading.
    pub(super) died: Option<Died>,
}

/// A scheduler that ended by itself: which, how, and when that was noticed.
pub(super) struct Died {
    pub(super) scheduler: Scheduler,
    pub(super) pm_qos: PmQosSnapshot,
    pub(super) end: End,
    pub(super) at: Instant,
    /// The kernel has detached it.
    pub(super) detached: bool,
}

/// How a process ended when that was not our doing, or that it does not end.
pub(super) type Stopped = Result<Option<End>, String>;

/// A new scheduler that does not run, with what is left of its process.
pub(super) type NotRunning = (Option<SchedulerProcess>, Failure);

impl Transition {
    /// The old scheduler, if it still runs.
    pub(super) fn into_old(self) -> Option<SchedulerProcess> {
        self.old
    }

    /// Whether the old scheduler ended by itself, and the kernel had none for a while.
    pub(super) fn old_has_died(&self) -> bool {
        self.died.as_ref().is_some_and(|died| died.detached)
    }

    /// Waits for `loaded`, and notices when the old scheduler ends by itself meanwhile.
    pub(super) async fn while_loading<T>(&mut self, loaded: impl Future<Output = T>) -> T {
        tokio::pin!(loaded);
        if let Some(old) = &mut self.old {
            tokio::select! {
                loaded = &mut loaded => return loaded,
                end = old.ended() => {
                    self.died = Some(Died {
                        scheduler: old.scheduler().clone(),
                        pm_qos: old.pm_qos.clone(),
                        end,
                        at: Instant::now(),
                        detached: true,
                    });
                    self.old = None;
                }
            }
        }
        loaded.await
    }

    /// Waits for the end of the old scheduler's process, restores what it changed and `new` does not ask for, and
    /// returns how it ended if by itself.
    pub(super) async fn wait_for_old(
        &mut self,
        new: Option<&SchedulerProcess>,
    ) -> Option<(Scheduler, End)> {
        let new = new.map(|new| &new.pm_qos);
        if let Some(died) = self.died.take() {
            self.pm_qos.ended(&died.pm_qos, new);
            return Some((died.scheduler, died.end));
        }
        let (old, stopped) = joined(self.leaving.take()?).await;
        self.pm_qos.ended(&old.pm_qos, new);
        let scheduler = old.scheduler().clone();
        match stopped {
            Ok(end) => end.map(|end| (scheduler, end)),
            Err(error) => {
                // The kernel has detached it all the same, and no scheduler is worse than a stuck process.
                let name = &scheduler.name;
                tracing::error!(scheduler = name, "{name} is left behind: {error}");
                None
            }
        }
    }

    /// The CPUs' limits for idle states, before a scheduler is started.
    pub(super) fn pm_qos_snapshot(&self) -> PmQosSnapshot {
        let before = self.old.as_ref().map(|old| &old.pm_qos);
        self.pm_qos.starts(before)
    }

    /// Restores what a new scheduler changed that has failed and ended.
    pub(super) fn restore_pm_qos(&self, mut snapshot: PmQosSnapshot) {
        self.pm_qos.loaded(&mut snapshot);
        let old = self.old.as_ref().map(|old| &old.pm_qos);
        self.pm_qos.ended(&snapshot, old);
    }
}

/// Looks for core scheduling, beside which any scheduler can hang the machine.
///
/// # Errors
/// When it is in use, or that cannot be told.
pub(super) async fn core_scheduling_permits() -> Result<(), Failure> {
    let found = tokio::task::spawn_blocking(core_scheduling::look).await;
    let found = found.expect("who looks neither panics nor is aborted");
    if found.permits_schedulers() {
        return Ok(());
    }
    Err(Failure::of(Fault::Nobody, found.to_string()))
}

pub(super) async fn joined(
    leaving: JoinHandle<(SchedulerProcess, Stopped)>,
) -> (SchedulerProcess, Stopped) {
    leaving
        .await
        .expect("stopping neither panics nor is aborted")
}
