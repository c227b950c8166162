//! The hot way: the new scheduler is loaded behind an attach barrier while the old one runs, and attaches when the
//! kernel has detached that.

use std::time::Duration;

use auto_ext_core::{Cause, Fault};
use auto_ext_policy::Scheduler;
use auto_ext_service::clock::microseconds;
use nix::errno::Errno;
use tokio::sync::watch;

use super::attach::{NotAttached, end, keep, refuse_all, wait_until_pending};
use super::detach::Detached;
use super::outcome::Failure;
use super::transition::{NotRunning, Transition, core_scheduling_permits};
use super::wait::wait_until_enabled;
use crate::attach_barrier::{AttachBarrier, BarrierError, Pending};
use crate::process::{SchedulerProcess, StartError};
use crate::realtime::RealtimeGuard;

/// How long one that is loaded may take to be enabled; in an emulated machine it is a second.
pub(super) const ATTACH_WITHIN: Duration = Duration::from_secs(15);

/// Why a scheduler was not started the hot way.
pub(super) enum NotHot {
    /// There can be no attach barrier here.
    NoBarrier(String),
    /// CPUs are not what they were when it was started. The kernel would not take it, and it would load
    /// itself again without a scheduler running.
    Outdated,
    /// It failed, or had to be refused.
    Failed(Box<NotRunning>),
}

impl NotHot {
    fn failed(left: Option<SchedulerProcess>, failure: Failure) -> Self {
        Self::Failed(Box::new((left, failure)))
    }
}

impl Transition {
    /// Loads `scheduler` behind an attach barrier, and lets it attach. Returns the gap in microseconds.
    pub(super) async fn start_hot(
        &mut self,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, u64), NotHot> {
        let pm_qos = self.pm_qos_snapshot();
        let hotplugs = self.sched_ext.hotplug_seq();
        let started = SchedulerProcess::start_behind_barrier(scheduler, &self.cgroups);
        let (mut new, mut barrier) = match started {
            Ok(started) => started,
            Err(StartError::AttachBarrier(error @ BarrierError::Unsupported { .. })) => {
                return Err(NotHot::NoBarrier(error.to_string()));
            }
            Err(error) => {
                let failure = Failure::of(Fault::New(Cause::NotLoaded), error.to_string());
                return Err(NotHot::failed(None, failure));
            }
        };
        new.pm_qos = pm_qos;
        let not_attached = match self.attach(&mut new, &mut barrier, hotplugs, cancel).await {
            Ok(gap_us) => {
                new.restore();
                tokio::spawn(keep(barrier, scheduler.name.clone()));
                return Ok((new, gap_us));
            }
            Err(not_attached) => not_attached,
        };
        let ended = end(&mut new, &mut barrier).await;
        if ended.is_ok() {
            self.restore_pm_qos(new.pm_qos.clone());
        }
        Err(match (not_attached, ended) {
            (NotAttached::NoBarrier(why), Ok(())) => NotHot::NoBarrier(why),
            (NotAttached::Outdated, Ok(())) => NotHot::Outdated,
            (NotAttached::Failed(failure), Ok(())) => NotHot::failed(None, failure),
            (NotAttached::NoBarrier(_) | NotAttached::Outdated, Err(error)) => {
                NotHot::failed(None, Failure::of(Fault::New(Cause::Stuck), error))
            }
            (NotAttached::Failed(failure), Err(error)) => {
                let error = format!("{}; then {error}", failure.error);
                // What ran before, if it still does, is what the kernel has.
                let left = self.old.is_none().then_some(new);
                NotHot::failed(left, Failure { error, ..failure })
            }
        })
    }

    /// Waits until `new` is loaded, has the old scheduler detached, lets the new one attach and asks the kernel.
    /// Returns the gap in microseconds.
    async fn attach(
        &mut self,
        new: &mut SchedulerProcess,
        barrier: &mut AttachBarrier,
        hotplugs: Option<u64>,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<u64, NotAttached> {
        let pending = self
            .while_loading(wait_until_pending(new, barrier, self.load_within, cancel))
            .await?;
        if self.sched_ext.hotplug_seq() != hotplugs {
            let _ = barrier.refuse(pending, Errno::ECANCELED);
            return Err(NotAttached::Outdated);
        }
        // Loading takes long enough for somebody to begin with it.
        if let Err(failure) = core_scheduling_permits().await {
            let _ = barrier.refuse(pending, Errno::ECANCELED);
            return Err(failure.into());
        }
        self.pm_qos.loaded(&mut new.pm_qos);
        new.boost();
        let _realtime = RealtimeGuard::of(pending.thread());
        new.register(&self.registry);
        let enabled_before = self.sched_ext.enable_seq();
        let detached = self.detach_for(pending, barrier).await?;
        let enabled = wait_until_enabled(
            &self.sched_ext,
            &self.registry,
            new.pid(),
            enabled_before,
            ATTACH_WITHIN,
        );
        let enabled = async {
            tokio::select! {
                enabled = enabled => enabled,
                () = refuse_all(barrier) => {
                    Err(Failure::of(Fault::New(Cause::NotLoaded), "its attach barrier broke"))
                }
            }
        };
        let left_disabled = tokio::select! {
            enabled = enabled => enabled?,
            end = new.ended() => return Err(Failure::ended(end).into()),
        };
        if let Some(end) = new.has_ended() {
            return Err(Failure::ended(end).into());
        }
        let next_at = detached.next_at.unwrap_or(left_disabled);
        Ok(detached
            .at
            .map_or(0, |at| microseconds(next_at.saturating_duration_since(at))))
    }

    /// Has the old scheduler detached, and permits the one that is `pending` to attach.
    async fn detach_for(
        &mut self,
        pending: Pending,
        barrier: &mut AttachBarrier,
    ) -> Result<Detached, NotAttached> {
        let permit = barrier
            .permit(&pending)
            .map_err(|error| Failure::of(Fault::Nobody, error.to_string()))?;
        let detached = {
            let detached = self.detach_old(Some(permit));
            tokio::pin!(detached);
            // Others of its threads may open files.
            tokio::select! {
                detached = &mut detached => detached,
                () = refuse_all(barrier) => detached.await,
            }
        };
        match detached {
            Ok(detached) if detached.permitted => Ok(detached),
            not_detached => {
                // Its thread handles no signal while it waits to attach.
                let _ = barrier.refuse(pending, Errno::ECANCELED);
                let state = self.sched_ext.read().scheduler();
                let failure = not_detached
                    .err()
                    .unwrap_or_else(|| Failure::of(Fault::Nobody, format!("`{state}` was faster")));
                Err(failure.into())
            }
        }
    }
}
