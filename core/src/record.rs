//! How the state records what came of switches and of the schedulers that ran.

use auto_ext_policy::{Candidate, Scheduler};

use crate::brief_loads::BriefLoads;
use crate::cause::{Cause, End};
use crate::choice::Precedence;
use crate::event::Fault;
use crate::limit::Counts;
use crate::moment::Moment;
use crate::state::{Running, State, Switch};

/// How often the start of a scheduler may fail through no fault of its own before that counts as its failure.
const MAX_PREVENTED_STARTS: usize = 3;
/// How many such starts, of any scheduler, are remembered.
const PREVENTED_STARTS_KEPT: usize = 64;

/// What is left of a switch that has ended.
struct Ended {
    /// Who asked for it.
    precedence: Precedence,
    /// Against which limit it counts.
    counts: Counts,
    /// It was a turn of a trial.
    trial: bool,
}

impl State {
    /// Records that the switch to `to` was made.
    pub(crate) fn switched(&mut self, to: Candidate, now: Moment) {
        let to = self.as_called_now(to);
        let for_a_load = self.switching.as_ref().is_some_and(Switch::is_for_a_load);
        if for_a_load && to != Candidate::Kernel {
            // That load lasted.
            self.brief_loads = BriefLoads::default();
        }
        let Ended {
            precedence,
            counts,
            trial,
        } = self.end_switch(now);
        // If the kernel ran somebody else's scheduler, it does not any more.
        self.foreign_seen = None;
        // What runs was loaded just now.
        self.restart_asked = false;
        if self.pin().is_some_and(|pin| pin.to.is_same_as(&to)) {
            self.pins.establish();
        }
        self.leases.establish(&to);
        // Whoever wanted it may have left while it was loaded.
        let is_left = precedence == Precedence::Hold
            && self.holds.is_empty()
            && !self
                .leases
                .newest_first()
                .any(|lease| lease.to.is_same_as(&to));
        self.running = match to {
            Candidate::Kernel => None,
            Candidate::Scheduler(scheduler) => {
                self.prevented_starts
                    .retain(|prevented| !prevented.is_same_as(&scheduler));
                Some(Running {
                    scheduler,
                    since: now,
                    precedence,
                    counts,
                    may_leave: trial || is_left,
                    failure_recorded: false,
                })
            }
        };
        self.end_open_hold();
    }

    /// Records that the switch to `to` failed, and that `left` runs.
    pub(crate) fn switch_failed(
        &mut self,
        to: Candidate,
        error: &str,
        fault: Fault,
        left: Option<Scheduler>,
        now: Moment,
    ) {
        let to = self.as_called_now(to);
        // Loading is work, whatever came of it.
        let Ended {
            precedence,
            counts,
            trial,
        } = self.end_switch(now);
        let before = self.running.take();
        self.running = left.map(|scheduler| match before {
            Some(before) if before.scheduler.is_same_as(&scheduler) => before,
            // The new one, which cannot be ended.
            _ => Running {
                scheduler,
                since: now,
                precedence,
                counts,
                may_leave: trial,
                failure_recorded: matches!(fault, Fault::New(_)),
            },
        });
        self.end_open_hold();
        self.failed_at = (!matches!(fault, Fault::New(_))).then_some(now);
        if fault == Fault::Cancelled {
            if trial {
                self.trials.drop_trial("a switch was cancelled", now);
            }
            self.pins.wait();
            return;
        }
        self.pins.failed(&to);
        self.leases.failed(&to);
        if fault == Fault::Nobody
            && let Candidate::Scheduler(new) = &to
        {
            self.start_prevented(new);
        }
        let failed = match (fault, &to, &self.running) {
            (Fault::New(cause), Candidate::Scheduler(new), _) => Some((new.clone(), cause)),
            (Fault::Nobody, Candidate::Scheduler(new), _) if self.is_prevented_too_often(new) => {
                Some((new.clone(), Cause::NotLoaded))
            }
            (Fault::Old, _, Some(old)) => Some((old.scheduler.clone(), Cause::Stuck)),
            _ => None,
        };
        if let Some((scheduler, cause)) = failed {
            let text = error.to_owned();
            self.record_failure(&scheduler, &End { cause, text }, now);
        }
        if trial {
            self.trials.drop_trial("a switch failed", now);
        }
        self.set_last_failure(format!("{to}: {error}"));
    }

    /// Records that the process of `scheduler` ended without having been asked to.
    pub(crate) fn exited(&mut self, scheduler: &Scheduler, end: &End, now: Moment) {
        self.restart_asked = false;
        // The policy may have another name for it since it was started.
        let running = self
            .running
            .take_if(|running| running.scheduler.is_same_as(scheduler));
        let counts = running.as_ref().map(|running| running.counts);
        self.count(counts.unwrap_or(Counts::Hourly), now);
        match running {
            // The kernel may have reported the failure before.
            Some(running) if running.failure_recorded => {}
            Some(running) => self.record_failure(&running.scheduler, end, now),
            None => self.record_failure(scheduler, end, now),
        }
    }

    /// Records, once, that the scheduler that auto-ext runs failed.
    pub(crate) fn record_failure_of_running(&mut self, end: &End, now: Moment) {
        if let Some(running) = &mut self.running
            && !std::mem::replace(&mut running.failure_recorded, true)
        {
            let scheduler = running.scheduler.clone();
            self.record_failure(&scheduler, end, now);
        }
    }

    /// Records that `scheduler` failed, which may be one failure too many and begin the safe mode.
    fn record_failure(&mut self, scheduler: &Scheduler, end: &End, now: Moment) {
        self.failures.add(scheduler, end, now);
        self.trials.failed(scheduler, &end.text, now);
        if end.cause == Cause::Sysrq {
            self.safe_mode.enter("SysRq-S was pressed", now);
        } else if end.cause.is_trouble() {
            self.safe_mode.trouble(now);
        }
        self.set_last_failure(format!("{}: {end}", scheduler.name));
    }

    fn set_last_failure(&mut self, error: String) {
        self.last_failure = error;
        self.failed_since = true;
    }

    /// Records that the switch on its way has ended.
    fn end_switch(&mut self, now: Moment) -> Ended {
        self.detached_since = None;
        let ended = match self.switching.take() {
            None => Ended {
                precedence: Precedence::LOWEST,
                counts: Counts::Hourly,
                trial: false,
            },
            Some(switch) => Ended {
                precedence: switch.precedence,
                counts: switch.counts,
                trial: switch.trial,
            },
        };
        self.count(ended.counts, now);
        self.after_turn = ended.counts == Counts::Turn;
        ended
    }

    fn count(&mut self, counts: Counts, now: Moment) {
        match counts {
            Counts::Nowhere => {}
            Counts::Hourly => self.limit.add(now),
            Counts::Turn | Counts::AfterTurn => self.compared.add(now),
        }
    }

    /// Records that the start of `scheduler` failed through no fault of its own.
    fn start_prevented(&mut self, scheduler: &Scheduler) {
        if self.prevented_starts.len() >= PREVENTED_STARTS_KEPT {
            self.prevented_starts.remove(0);
        }
        self.prevented_starts.push(scheduler.clone());
    }

    /// Whether that happened so often since it last ran that it is likely its own fault after all.
    fn is_prevented_too_often(&self, scheduler: &Scheduler) -> bool {
        let starts = self.prevented_starts.iter();
        starts.filter(|of| of.is_same_as(scheduler)).count() >= MAX_PREVENTED_STARTS
    }

    /// When the first of the holds began during the switch that has ended, they hold what runs now, whatever came of
    /// the switch: a hold forces no change.
    fn end_open_hold(&mut self) {
        if std::mem::take(&mut self.held_is_open) {
            self.held = self.runs();
        }
    }

    /// The target of a switch by the name that the policy has for it by now.
    fn as_called_now(&self, to: Candidate) -> Candidate {
        let switching = self.switching.as_ref().map(|switch| &switch.to);
        match switching.filter(|switching| switching.is_same_as(&to)) {
            Some(switching) => switching.clone(),
            None => to,
        }
    }
}
