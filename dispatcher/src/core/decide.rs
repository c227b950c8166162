//! From an event to the next state and what is to be done.

use std::collections::BTreeMap;
use std::sync::Arc;

use auto_ext_profiler::{Process, ProcessEvent};

use super::Moment;
use super::act::{act, watch_seat};
use super::cause::{Cause, End};
use super::choose::{choose, classify, mode};
use super::event::{Action, Event, Fault};
use super::state::{Hold, Layer, Pin, Running, State};
use crate::kernel::KernelState;
use crate::policy::{Candidate, Policy, Scheduler};

/// How many attempts to bring a scheduler in may come to nothing through nobody's fault before it is left alone for it.
const FRUITLESS_MOST: usize = 3;
/// How many such attempts, of any scheduler, are remembered.
const FRUITLESS_KEPT: usize = 64;

/// Takes in `event`, which happened at `now`, and says what is to be done.
///
/// `now` never runs backwards from call to call.
#[must_use]
pub fn decide(policy: &Policy, state: &State, event: Event, now: Moment) -> (State, Vec<Action>) {
    let mut next = state.clone();
    let settled = event == Event::PolicyChanged;
    take_in(policy, &mut next, event, now);
    if next.pin.as_ref().is_some_and(|pin| pin.is_over(now)) {
        (next.pin, next.pin_before) = (None, None);
    }
    classify(policy, &mut next, now, settled);
    watch_seat(&mut next, now);
    next.mode = mode(policy, &next, now);
    next.choice = choose(policy, &next, now);
    let actions = act(policy, &mut next, now);
    (next, actions)
}

/// What the event itself changes.
fn take_in(policy: &Policy, state: &mut State, event: Event, now: Moment) {
    match event {
        // What is measured on the way to sleep and back says nothing about the load.
        Event::Window { .. } if state.asleep => {}
        Event::Window { dt, signals } => {
            state.levels.update(dt, &signals);
            state.signals = Some(signals);
        }
        Event::Kernel {
            state: kernel,
            ours,
        } => {
            state.kernel = kernel;
            state.ours = ours;
        }
        Event::Installed(installed) => state.installed = installed,
        Event::Switched { to } => switched(state, to, now),
        Event::SwitchFailed {
            to,
            error,
            fault,
            left,
        } => switch_failed(state, &to, &error, fault, left, now),
        Event::SchedulerExited { scheduler, end } => {
            let running = state
                .running
                .take_if(|running| running.scheduler == scheduler);
            if running.as_ref().is_none_or(|running| running.counts) {
                state.limit.add(now);
            }
            // The kernel may have said before that it ended it, and why.
            if !running.is_some_and(|running| running.blamed) {
                state.blame(&scheduler, &end, now);
            }
        }
        Event::SchedulerEjected(end) => state.blame_running(&end, now),
        Event::Remembered(failures) => state.failures.remember(failures),
        Event::Forgiven { command } => state.failures.forget(&command),
        Event::Distrusted { why } => state.trust.lose(&why, now),
        Event::Trusted => state.trust.restore(),
        Event::PolicyProblem { error } => {
            state.last_error = error;
            state.policy_problem = true;
        }
        Event::PolicyChanged => {
            state.levels.set_thresholds(policy.signals);
            // What nobody asks about is not followed, and would stay for ever.
            Arc::make_mut(&mut state.processes).retain(|_, process| policy.wants(process));
            if std::mem::take(&mut state.policy_problem) {
                state.last_error.clear();
            }
        }
        Event::Processes(events) => {
            let processes = Arc::make_mut(&mut state.processes);
            for event in events {
                follow(policy, processes, event);
            }
        }
        Event::Power(power) => state.power = power,
        Event::Profile(profile) => state.profile = profile,
        Event::Pinned { to, lasts } => {
            // Whoever names one that failed wants to see it tried again.
            if let Candidate::Scheduler(scheduler) = &to {
                state.failures.try_again(scheduler, now);
            }
            if let Some(pin) = state.pin.take().filter(|pin| pin.established) {
                state.pin_before = Some(pin);
            }
            state.pin = Some(Pin {
                to,
                lasts,
                since: now,
                established: false,
            });
        }
        Event::Unpinned => (state.pin, state.pin_before) = (None, None),
        Event::Held {
            cookie,
            application,
            reason,
        } => {
            if state.holds.is_empty() {
                state.held = state.runs_or_will_run();
            }
            let hold = Hold {
                application,
                reason,
            };
            state.holds.insert(cookie, hold);
        }
        Event::Released { cookie } => {
            state.holds.remove(&cookie);
        }
        Event::FallsAsleep => state.asleep = true,
        Event::WakesUp => {
            state.asleep = false;
            state.awake_since = Some(now);
        }
    }
}

/// Remembers the processes that the policy asks about.
fn follow(policy: &Policy, processes: &mut BTreeMap<u32, Process>, event: ProcessEvent) {
    match event {
        ProcessEvent::Started(process) if policy.wants(&process) => {
            processes.insert(process.pid, process);
        }
        ProcessEvent::Started(Process { pid, .. }) | ProcessEvent::Ended { pid } => {
            processes.remove(&pid);
        }
        ProcessEvent::All(all) => {
            let wanted = all.into_iter().filter(|process| policy.wants(process));
            *processes = wanted.map(|process| (process.pid, process)).collect();
        }
    }
}

fn switched(state: &mut State, to: Candidate, now: Moment) {
    let (layer, counts) = state.end_switch(now);
    // If it was somebody else's seat, it is not any more.
    state.foreign_seen = None;
    if state.pin.as_ref().is_some_and(|pin| pin.to == to) {
        state.establish_pin();
    }
    state.running = match to {
        Candidate::Kernel => None,
        Candidate::Scheduler(scheduler) => Some(Running {
            scheduler: state.fruitful(scheduler),
            since: now,
            layer,
            counts,
            blamed: false,
        }),
    };
}

fn switch_failed(
    state: &mut State,
    to: &Candidate,
    error: &str,
    fault: Fault,
    left: Option<Scheduler>,
    now: Moment,
) {
    // Loading is work, whatever came of it.
    let (layer, counts) = state.end_switch(now);
    let before = state.running.take();
    state.running = left.map(|scheduler| Running {
        since: before.as_ref().map_or(now, |running| running.since),
        layer: before.as_ref().map_or(layer, |running| running.layer),
        counts: before.as_ref().map_or(counts, |running| running.counts),
        blamed: before.is_some_and(|running| running.blamed),
        scheduler,
    });
    state.failed_at = (!matches!(fault, Fault::New(_))).then_some(now);
    if fault == Fault::Cancelled {
        return;
    }
    // Whoever asked for it is told; what was before is in force again.
    if state
        .pin
        .as_ref()
        .is_some_and(|pin| !pin.established && pin.to == *to)
    {
        state.pin = state.pin_before.take();
    }
    if fault == Fault::Nobody
        && let Candidate::Scheduler(new) = to
    {
        state.fruitless(new);
    }
    let blamed = match (fault, to, &state.running) {
        (Fault::New(cause), Candidate::Scheduler(new), _) => Some((new, cause)),
        (Fault::Nobody, Candidate::Scheduler(new), _) if state.is_fruitless(new) => {
            Some((new, Cause::NotLoaded))
        }
        (Fault::Old, _, Some(old)) => Some((&old.scheduler, Cause::Stuck)),
        _ => None,
    };
    if let Some((scheduler, cause)) = blamed {
        let text = error.to_owned();
        state.failures.add(scheduler, &End { cause, text }, now);
        if cause.is_trouble() {
            state.trust.trouble(now);
        }
    }
    state.failed(format!("{to}: {error}"));
}

impl State {
    /// Takes note that the switch on its way has ended, and returns who had asked for it and whether
    /// it counts against the hourly limit.
    fn end_switch(&mut self, now: Moment) -> (Layer, bool) {
        self.unseated_since = None;
        let (layer, counts) = self
            .switching
            .take()
            .map_or((Layer::LOWEST, true), |switch| {
                (switch.layer, switch.counts)
            });
        if counts {
            self.limit.add(now);
        }
        (layer, counts)
    }

    /// Takes note that `scheduler` did not come to run, and that it is nobody's fault.
    fn fruitless(&mut self, scheduler: &Scheduler) {
        if self.fruitless.len() >= FRUITLESS_KEPT {
            self.fruitless.remove(0);
        }
        self.fruitless.push(scheduler.clone());
    }

    /// Whether that has happened so often since it last ran that it is likely its own fault after all.
    fn is_fruitless(&self, scheduler: &Scheduler) -> bool {
        let attempts = self.fruitless.iter();
        attempts.filter(|it| it.is_same_as(scheduler)).count() >= FRUITLESS_MOST
    }

    /// Takes note that `scheduler` runs.
    fn fruitful(&mut self, scheduler: Scheduler) -> Scheduler {
        self.fruitless.retain(|it| !it.is_same_as(&scheduler));
        scheduler
    }

    pub(super) fn establish_pin(&mut self) {
        if let Some(pin) = &mut self.pin {
            pin.established = true;
            self.pin_before = None;
        }
    }

    /// Takes note that `scheduler`, which ran, failed.
    fn blame(&mut self, scheduler: &Scheduler, end: &End, now: Moment) {
        self.failures.add(scheduler, end, now);
        if end.cause == Cause::Sysrq {
            self.trust.lose("SysRq-S was pressed", now);
        } else if end.cause.is_trouble() {
            self.trust.trouble(now);
        }
        self.failed(format!("{}: {end}", scheduler.name));
    }

    /// Takes note that the scheduler that runs as far as is known failed; once.
    pub(super) fn blame_running(&mut self, end: &End, now: Moment) {
        if let Some(running) = &mut self.running
            && !std::mem::replace(&mut running.blamed, true)
        {
            let scheduler = running.scheduler.clone();
            self.blame(&scheduler, end, now);
        }
    }

    fn failed(&mut self, error: String) {
        self.last_error = error;
        self.policy_problem = false;
    }

    /// What will run if nothing else happens.
    fn runs_or_will_run(&self) -> Candidate {
        match (&self.switching, &self.running) {
            (Some(switch), _) if !switch.cancelled => switch.to.clone(),
            (_, Some(running)) => Candidate::Scheduler(running.scheduler.clone()),
            (_, None) => Candidate::Kernel,
        }
    }

    /// Whether the kernel runs a scheduler that auto-ext did not start.
    pub(super) fn foreign_runs(&self) -> bool {
        matches!(self.kernel, KernelState::Enabled { .. }) && !self.ours
    }
}
