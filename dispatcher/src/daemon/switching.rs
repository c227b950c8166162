//! From the decision to switch to what came of it: told to the core, the history and D-Bus.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Daemon;
use crate::clock::now_us;
use crate::core::{End, Event, Fault};
use crate::history::{Entry, Kind, Way};
use crate::idle_latency::IdleLatency;
use crate::kernel::KernelState;
use crate::kernel_log::complete;
use crate::policy::{Candidate, Scheduler};
use crate::report::{Current, scheduler_name};
use crate::scheduler_process::SchedulerProcess;
use crate::switch::{self, Done, Failure, Outcome};

/// A switch on its way.
pub(super) struct Switching {
    task: JoinHandle<Outcome>,
    cancel: watch::Sender<bool>,
    /// The scheduler of ours that ran before, and what the kernel called it if it was enabled.
    old: Option<(Scheduler, Option<String>)>,
    from: String,
    reason: String,
}

impl Switching {
    /// Calls the switch off, and waits for what then runs.
    pub(super) async fn end(self) -> Option<SchedulerProcess> {
        // It may have ended a moment ago.
        let _ = self.cancel.send(true);
        let outcome = self.task.await;
        outcome
            .expect("the switch neither panics nor is aborted")
            .running
    }
}

impl Daemon {
    pub(super) fn begin_switch(&mut self, to: Candidate, reason: String, replace_foreign: bool) {
        let from = self.sched_ext.read().scheduler();
        // It may have been disabled a moment ago, and nobody told yet.
        let ops = match self.state.kernel() {
            KernelState::Enabled { ops } if self.state.ours() => Some(ops.clone()),
            _ => None,
        };
        let old = self
            .running
            .as_ref()
            .map(|process| (process.scheduler().clone(), ops));
        let (cancel, cancelled) = watch::channel(false);
        let switch = switch::Switch {
            sched_ext: self.sched_ext.clone(),
            children: self.children.clone(),
            cgroups: self.cgroups.clone(),
            to,
            replace_foreign,
            load_within: switch::LOAD_WITHIN,
            disable_within: switch::DISABLE_WITHIN,
        };
        let task = tokio::spawn(switch.make(self.running.take(), cancelled));
        self.switching = Some(Switching {
            task,
            cancel,
            old,
            from,
            reason,
        });
    }

    pub(super) fn cancel_switch(&self) {
        if let Some(switching) = &self.switching {
            // It may have ended a moment ago; then there is nothing to call off.
            let _ = switching.cancel.send(true);
        }
    }

    pub(super) async fn switch_ended(&mut self, (switching, outcome): (Switching, Outcome)) {
        let Outcome {
            running,
            crashed,
            died,
            to,
            result,
        } = outcome;
        let Switching {
            old, from, reason, ..
        } = switching;
        let stays = match (&running, &old) {
            (Some(process), Some((old, _))) => process.scheduler().is_same_as(old),
            _ => false,
        };
        // What the kernel says of a scheduler with that name could else be about the new one.
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
            if died && self.told.is_ours() {
                // Before the next one came.
                let why = format!("{name} {end}");
                self.announce(Current::nothing(), &why, 0, true).await;
            }
            self.happened(Event::SchedulerExited { scheduler, end })
                .await;
        }
        let left = running.as_ref().map(|process| process.scheduler().clone());
        self.running = running;
        let now = self.take_in_kernel().await;
        match result {
            Ok(done) => self.switched(&from, to, now, &reason, done).await,
            Err(Failure { error, fault }) => {
                let name = scheduler_name(&to);
                if fault == Fault::Cancelled {
                    tracing::debug!(from, to = name, "switch called off");
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
                let failed = Event::SwitchFailed {
                    to,
                    error: error.clone(),
                    fault,
                    left,
                };
                self.happened(failed).await;
                if now.which() != self.told.which() {
                    self.announce(now, &format!("{name}: {error}"), 0, true)
                        .await;
                }
            }
        }
        if let Some((old, end)) = ejected
            && self.running_unseated().is_some()
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
        reason: &str,
        done: Done,
    ) {
        let now = &current.current_scheduler;
        self.kernel_log.skip();
        let Done {
            gap_us,
            cold_because,
        } = done;
        if matches!(to, Candidate::Kernel) && from == now {
            // The kernel had ended the scheduler before; only its process was cleared away.
            self.happened(Event::Switched { to }).await;
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
            ..self.entry(
                Kind::Switched,
                from,
                now,
                reason,
                &cold_because.unwrap_or_default(),
            )
        });
        self.happened(Event::Switched { to }).await;
        self.announce(current, reason, gap_us, true).await;
    }

    /// The kernel does not run `scheduler` any more, and says that it failed; its process lives.
    pub(super) async fn scheduler_ejected(&mut self, scheduler: Scheduler, end: End) {
        let from = scheduler_name(&Candidate::Scheduler(scheduler));
        let class = self.state.class();
        tracing::warn!(scheduler = from, class, "{from}: {end}");
        let now = self.sched_ext.read().scheduler();
        self.record(Kind::Exited, &from, &now, "", &end.text);
        let announced = format!("{from}: {end}");
        self.happened(Event::SchedulerEjected(end)).await;
        self.announce_change(&announced).await;
    }

    pub(super) async fn scheduler_exited(&mut self, end: End) {
        let Some(process) = self.running.take() else {
            return;
        };
        let scheduler = process.scheduler().clone();
        IdleLatency::default().ended(&process.marks, None);
        drop(process);
        let from = scheduler_name(&Candidate::Scheduler(scheduler.clone()));
        let class = self.state.class();
        let end = self.kernel_log.complete(end);
        tracing::warn!(scheduler = from, class, "{from} ended by itself: {end}");
        // Announced below, with its reason.
        let now = self.take_in_kernel().await;
        self.record(Kind::Exited, &from, &now.current_scheduler, "", &end.text);
        let announced = format!("{from} {end}");
        self.happened(Event::SchedulerExited { scheduler, end })
            .await;
        self.announce_change(&announced).await;
    }

    /// Adds to the history what was no switch.
    pub(super) fn record(&mut self, event: Kind, from: &str, to: &str, reason: &str, error: &str) {
        let entry = self.entry(event, from, to, reason, error);
        self.remember(entry);
    }

    fn remember(&mut self, entry: Entry) {
        self.kept.counters().count(&entry);
        self.kept.keep();
        self.history.add(entry);
    }

    fn entry(&self, event: Kind, from: &str, to: &str, reason: &str, error: &str) -> Entry {
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
        }
    }
}

/// Waits for the end of the switch that is on its way, if there is one.
pub(super) async fn finished(switching: &mut Option<Switching>) -> (Switching, Outcome) {
    let Some(current) = switching else {
        return std::future::pending().await;
    };
    let outcome = (&mut current.task)
        .await
        .expect("the switch neither panics nor is aborted");
    let switching = switching.take().expect("it was there a moment ago");
    (switching, outcome)
}

/// Waits for the end of the scheduler that runs, if there is one.
pub(super) async fn ended(running: &mut Option<SchedulerProcess>) -> End {
    match running {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}
