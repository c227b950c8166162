//! What came of switches and of the scheduler that runs: recorded, decided about by the core, and announced.

use auto_ext_core::{End, Event, Fault};
use auto_ext_policy::{Candidate, Scheduler};
use auto_ext_scx::kmsg::complete;
use auto_ext_scx::process::SchedulerProcess;
use auto_ext_scx::process::pm_qos::PmQos;
use auto_ext_scx::switch::{Done, Failure, Outcome};
use auto_ext_service::clock::now_us;

use super::state::Daemon;
use super::switching::Switching;
use crate::api::status::{Current, scheduler_name};
use crate::persistence::history::{Entry, Kind, Way};

impl Daemon {
    /// Records, decides about and announces what came of a switch.
    pub(super) async fn switch_ended(&mut self, (switching, outcome): (Switching, Outcome)) {
        let Outcome {
            running,
            crashed,
            died,
            to,
            result,
        } = outcome;
        let Switching {
            old,
            from,
            reason,
            trial,
            ..
        } = switching;
        let stays = match (&running, &old) {
            (Some(process), Some((old, _))) => process.scheduler().is_same_as(old),
            _ => false,
        };
        // Otherwise what the kernel's log has about a scheduler of that name could be about the new one.
        let ejected = old.filter(|_| stays || result.is_ok());
        let ejected = ejected.and_then(|old| self.ejected_meanwhile(old));
        let (crashed, ejected) = match (crashed, ejected) {
            (Some((old, end)), ejected) => {
                let ejection = ejected.map(|(_, ejection)| ejection);
                (Some((old, complete(end, ejection))), None)
            }
            (None, ejected) if stays => (None, ejected),
            (None, ejected) => (ejected, None),
        };
        if let Some((scheduler, end)) = crashed {
            let name = scheduler_name(&Candidate::Scheduler(scheduler.clone()));
            tracing::warn!(scheduler = name, "{name} had ended by itself: {end}");
            self.record(Kind::Exited, &name, &name, &reason, &end.text);
            if died && self.observed.announced().is_ours() {
                // Before the next one came.
                let why = format!("{name} {end}");
                self.announce(Current::nothing(), &why, 0, true).await;
            }
            self.apply_event(Event::SchedulerExited { scheduler, end })
                .await;
        }
        let left = running.as_ref().map(|process| process.scheduler().clone());
        self.running = running;
        let now = self.apply_kernel().await;
        match result {
            Ok(done) => self.switched(&from, to, now, (&reason, trial), done).await,
            Err(Failure { error, fault }) => {
                let name = scheduler_name(&to);
                if fault == Fault::Cancelled {
                    tracing::debug!(from, to = name, "switch cancelled");
                } else {
                    let class = self.state.class();
                    tracing::warn!(
                        scheduler = name,
                        class,
                        reason,
                        "{from} stays, {name} failed: {error}"
                    );
                    self.record(Kind::Failed, &from, &name, &reason, &error);
                }
                // It may be why, and then nothing else is to be tried.
                self.look_for_core_scheduling().await;
                let failed = Event::SwitchFailed {
                    to,
                    error: error.clone(),
                    fault,
                    left,
                };
                self.apply_event(failed).await;
                if !self.observed.is_announced(&now) {
                    self.announce(now, &format!("{name}: {error}"), 0, true)
                        .await;
                }
            }
        }
        if let Some((old, end)) = ejected
            && self.running_detached().is_some()
        {
            self.scheduler_ejected(old, end).await;
        }
    }

    /// The old scheduler of a switch, if the kernel disabled it for an error meanwhile, and for which.
    fn ejected_meanwhile(&mut self, old: (Scheduler, Option<String>)) -> Option<(Scheduler, End)> {
        let (scheduler, ops) = old;
        Some((scheduler, self.kernel_log.ejection_of(&ops?)?))
    }

    async fn switched(
        &mut self,
        from: &str,
        to: Candidate,
        current: Current,
        (reason, trial): (&str, bool),
        done: Done,
    ) {
        let now = &current.current_scheduler;
        self.kernel_log.skip();
        let Done {
            gap_us,
            cold_because,
        } = done;
        if matches!(to, Candidate::Kernel) && from == now {
            // The kernel had disabled the scheduler before; only its process was ended.
            self.apply_event(Event::Switched { to }).await;
            return self.announce_change(reason).await;
        }
        if let Some(why) = &cold_because {
            tracing::warn!(
                scheduler = now,
                "{from} had to leave before {now} could come: {why}"
            );
        }
        let args = match &to {
            Candidate::Scheduler(scheduler) => scheduler.args.join(" "),
            Candidate::Kernel => String::new(),
        };
        let class = self.state.class();
        tracing::info!(
            scheduler = now,
            class,
            reason,
            from,
            args,
            gap_us,
            "{from} -> {now}: {reason}"
        );
        let way = match (&to, &cold_because) {
            (Candidate::Kernel, _) => None,
            (_, None) => Some(Way::Hot),
            (_, Some(_)) => Some(Way::Cold),
        };
        self.remember(Entry {
            way,
            gap_us: Some(gap_us),
            trial,
            ..self.entry(
                Kind::Switched,
                from,
                now,
                reason,
                &cold_because.unwrap_or_default(),
            )
        });
        self.apply_event(Event::Switched { to }).await;
        self.announce(current, reason, gap_us, true).await;
    }

    /// The kernel disabled `scheduler` for an error; its process lives.
    pub(super) async fn scheduler_ejected(&mut self, scheduler: Scheduler, end: End) {
        let from = scheduler_name(&Candidate::Scheduler(scheduler));
        let class = self.state.class();
        tracing::warn!(scheduler = from, class, "{from}: {end}");
        let now = self.sched_ext.read().scheduler();
        self.record(Kind::Exited, &from, &now, "", &end.text);
        let announced = format!("{from}: {end}");
        self.apply_event(Event::SchedulerEjected(end)).await;
        self.announce_change(&announced).await;
    }

    /// The process of the scheduler ended without having been asked to.
    pub(super) async fn scheduler_exited(&mut self, end: End) {
        let Some(process) = self.running.take() else {
            return;
        };
        let scheduler = process.scheduler().clone();
        PmQos::default().ended(&process.pm_qos, None);
        drop(process);
        let from = scheduler_name(&Candidate::Scheduler(scheduler.clone()));
        let class = self.state.class();
        let end = self.kernel_log.complete(end);
        tracing::warn!(scheduler = from, class, "{from} ended by itself: {end}");
        // Announced below, with its reason.
        let now = self.apply_kernel().await;
        self.record(Kind::Exited, &from, &now.current_scheduler, "", &end.text);
        let announced = format!("{from} {end}");
        self.apply_event(Event::SchedulerExited { scheduler, end })
            .await;
        self.announce_change(&announced).await;
    }

    /// Adds an event that is no switch to the history and the counters.
    pub(super) fn record(&mut self, event: Kind, from: &str, to: &str, reason: &str, error: &str) {
        let entry = self.entry(event, from, to, reason, error);
        self.remember(entry);
    }

    pub(super) fn remember(&mut self, entry: Entry) {
        self.counters.counters().count(&entry);
        self.counters.keep();
        self.history.add(entry);
    }

    pub(super) fn entry(
        &self,
        event: Kind,
        from: &str,
        to: &str,
        reason: &str,
        error: &str,
    ) -> Entry {
        Entry {
            at: now_us(),
            event,
            from: from.to_owned(),
            to: to.to_owned(),
            class: self.state.class().to_owned(),
            reason: reason.to_owned(),
            error: error.to_owned(),
            way: None,
            gap_us: None,
            trial: false,
        }
    }
}

/// Waits for the end of the scheduler that runs; for ever if there is none.
pub(super) async fn ended(running: &mut Option<SchedulerProcess>) -> End {
    match running {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}
