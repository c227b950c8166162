//! The cold way, where there can be no attach barrier: the old scheduler is stopped, then the new one is started.

use std::time::Duration;

use auto_ext_core::{Cause, Fault, KernelState};
use auto_ext_policy::Scheduler;
use auto_ext_service::clock::microseconds;
use tokio::sync::watch;

use super::attach::cancelled;
use super::outcome::Failure;
use super::transition::{NotRunning, Transition};
use super::wait::wait_until_enabled;
use crate::process::SchedulerProcess;

impl Transition {
    /// Stops the old scheduler, then starts `scheduler`. Returns the gap in microseconds.
    pub(super) async fn start_cold(
        &mut self,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, u64), NotRunning> {
        if *cancel.borrow() {
            return Err((None, Failure::of(Fault::Cancelled, "cancelled")));
        }
        let detached = self
            .detach_old(None)
            .await
            .map_err(|failure| (None, failure))?;
        if self.sched_ext.read() != KernelState::Disabled {
            let state = self.sched_ext.read().scheduler();
            return Err((
                None,
                Failure::of(Fault::Nobody, format!("`{state}` was faster")),
            ));
        }
        let enabled_before = self.sched_ext.enable_seq();
        let pm_qos = self.pm_qos_snapshot();
        let mut new =
            SchedulerProcess::start(scheduler, &self.registry, &self.cgroups).map_err(|error| {
                let fault = Fault::New(Cause::NotLoaded);
                (None, Failure::of(fault, error.to_string()))
            })?;
        new.pm_qos = pm_qos;
        let child = new.pid();
        let enabled = wait_until_enabled(
            &self.sched_ext,
            &self.registry,
            child,
            enabled_before,
            self.load_within,
        );
        let result = tokio::select! {
            enabled = enabled => enabled,
            end = new.ended() => Err(Failure::not_loaded(end)),
            // The old one has left already, so this counts like any failure.
            () = cancelled(cancel) => Err(Failure::of(Fault::Nobody, "cancelled")),
        };
        match result {
            Ok(left_disabled) => {
                self.pm_qos.loaded(&mut new.pm_qos);
                let gap = detached.at.map_or(Duration::ZERO, |at| {
                    left_disabled.saturating_duration_since(at)
                });
                Ok((new, microseconds(gap)))
            }
            Err(failure) => match new.stop().await {
                Ok(_) => {
                    self.restore_pm_qos(new.pm_qos.clone());
                    Err((None, failure))
                }
                Err(error) => {
                    let error = format!("{}; then {error}", failure.error);
                    Err((Some(new), Failure { error, ..failure }))
                }
            },
        }
    }
}
