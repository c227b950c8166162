//! Having the kernel detach the old scheduler, ours or somebody else's, and letting the new one attach.

use std::time::{Duration, Instant};

use auto_ext_core::{Cause, End, Fault, KernelState};
use tokio::time::sleep;

use super::handover::{Handover, hand_over};
use super::outcome::Failure;
use super::transition::{Died, Stopped, Transition, joined};
use super::wait::{DISABLE_WITHIN, wait_until_settled};
use crate::attach_barrier::AttachPermit;
use crate::foreign::Holder;
use crate::process::SchedulerProcess;
use crate::process::registry::ProcessGuard;

/// The kernel has detached the old scheduler.
pub(super) struct Detached {
    /// Since when the kernel has no scheduler; `None` when there was none before.
    pub(super) at: Option<Instant>,
    /// When the kernel was seen to take the one that was permitted to attach.
    pub(super) next_at: Option<Instant>,
    /// The new one was permitted to attach.
    pub(super) permitted: bool,
}

impl Transition {
    /// Stops the old scheduler, waits until the kernel has detached it, and then lets the new one attach for which
    /// the permit is.
    pub(super) async fn detach_old(
        &mut self,
        permit: Option<AttachPermit>,
    ) -> Result<Detached, Failure> {
        let Some(mut old) = self.old.take() else {
            return self.detach_foreign_or_died(permit).await;
        };
        let child = old.pid();
        let guard = old.take_guard();
        old.boost();
        let leaving = tokio::spawn(async move {
            let stopped = old.stop().await;
            (old, stopped)
        });
        // It is detached when the kernel says so; what its process has still to do is its own matter.
        let permitted = permit.is_some();
        let registry = self.registry.clone();
        let handover = hand_over(
            self.sched_ext.clone(),
            registry,
            child,
            permit,
            self.disable_within,
        )
        .await;
        let detached = match handover {
            Handover::Detached { at, next_at } => Ok(Detached {
                at: Some(at),
                next_at,
                permitted,
            }),
            Handover::Overtaken { at } => Ok(Detached {
                at: Some(at),
                next_at: None,
                permitted: false,
            }),
            Handover::BarrierBroke(error) => Err(Failure::of(Fault::Nobody, error.to_string())),
            Handover::StillAttached(state) => {
                let (old, stopped) = joined(leaving).await;
                return Err(self.still_attached(old, &stopped, guard, &state));
            }
        };
        drop(guard);
        self.leaving = Some(leaving);
        detached
    }

    /// Takes note that the kernel has not detached `old` although that was asked to leave, and killed.
    fn still_attached(
        &mut self,
        mut old: SchedulerProcess,
        stopped: &Stopped,
        guard: Option<ProcessGuard>,
        state: &KernelState,
    ) -> Failure {
        let name = old.scheduler().name.clone();
        let error = format!("{name} could not be stopped: the kernel still says {state:?}");
        if stopped.is_err() {
            old.restore_guard(guard);
            old.restore();
            self.old = Some(old);
        } else {
            // What has no process runs no more: the kernel is only not done with it.
            let within = humantime::format_duration(self.disable_within);
            self.died = Some(Died {
                scheduler: old.scheduler().clone(),
                pm_qos: old.pm_qos.clone(),
                end: End {
                    cause: Cause::Stuck,
                    text: format!("it left, but the kernel did not let go of it within {within}"),
                },
                at: Instant::now(),
                detached: false,
            });
        }
        Failure::of(Fault::Old, error)
    }

    /// The same where no scheduler of ours runs: there is none, or it ended by itself, or somebody else's runs.
    async fn detach_foreign_or_died(
        &self,
        permit: Option<AttachPermit>,
    ) -> Result<Detached, Failure> {
        wait_until_settled(&self.sched_ext).await?;
        let at = match self.sched_ext.read() {
            KernelState::Enabled { ops } if self.replace_foreign => {
                Some(self.detach_foreign(&ops).await?)
            }
            _ => self.died.as_ref().map(|died| died.at),
        };
        let mut permitted = false;
        if let Some(permit) = permit
            && self.sched_ext.read() == KernelState::Disabled
        {
            permit
                .open()
                .map_err(|error| Failure::of(Fault::Nobody, error.to_string()))?;
            permitted = true;
        }
        Ok(Detached {
            at,
            next_at: None,
            permitted,
        })
    }

    /// Has the scheduler called `ops`, which is not ours, leave.
    async fn detach_foreign(&self, ops: &str) -> Result<Instant, Failure> {
        let asked = match Holder::find(ops) {
            Ok(holder) => holder.ask_to_leave().await,
            Err(error) => Err(error),
        };
        let failed = |why: String| Failure::of(Fault::Nobody, format!("`{ops}` stays: {why}"));
        asked.map_err(|error| failed(error.to_string()))?;
        let begun = Instant::now();
        loop {
            match self.sched_ext.read() {
                KernelState::Disabled => return Ok(Instant::now()),
                state if begun.elapsed() >= DISABLE_WITHIN => {
                    return Err(failed(format!("the kernel still says {state:?}")));
                }
                _ => sleep(Duration::from_millis(1)).await,
            }
        }
    }
}
