//! From an event to the next state and what is to be done.

use std::collections::BTreeMap;
use std::sync::Arc;

use auto_ext_profiler::{Process, ProcessEvent};

use super::Moment;
use super::act::{act, watch_seat};
use super::cause::{Cause, End};
use super::choose::{choose, classify, mode};
use super::event::{Action, Event, Fault};
use super::state::{Hold, Layer, Running, State};
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
    next.pins.end_those_over(now);
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
        } => {
            let to = state.as_called_now(to);
            switch_failed(state, &to, &error, fault, left, now);
        }
        Event::SchedulerExited { scheduler, end } => {
            // The policy may call it something else since it was started.
            let running = state
                .running
                .take_if(|running| running.scheduler.is_same_as(&scheduler));
            if running.as_ref().is_none_or(|running| running.counts) {
                state.limit.add(now);
            }
            match running {
                // The kernel may have said before that it ended it, and why.
                Some(running) if running.blamed => {}
                Some(running) => state.blame(&running.scheduler, &end, now),
                None => state.blame(&scheduler, &end, now),
            }
        }
        Event::SchedulerEjected(end) => state.blame_running(&end, now),
        Event::Remembered(failures) => state.failures.remember(failures),
        Event::Forgiven { command } => state.failures.forget(&command),
        Event::Distrusted { why } => state.trust.lose(&why, now),
        Event::Trusted => state.trust.restore(),
        Event::PolicyProblem { error } => {
            state.policy_problem = Some(error);
            state.failed_since = false;
        }
        Event::PolicyChanged => {
            state.levels.set_thresholds(policy.signals);
            // What nobody asks about is not followed, and would stay for ever.
            Arc::make_mut(&mut state.processes).retain(|_, process| policy.wants(process));
            state.policy_problem = None;
            call_by_the_names_of(policy, state);
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
            state.pins.add(to, lasts, now);
        }
        Event::Unpinned => state.pins.clear(),
        Event::Held {
            cookie,
            application,
            reason,
        } => {
            if state.holds.is_empty() {
                state.held = state.runs_or_will_run();
                state.held_is_open = state.switching.is_some();
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
        Event::Slept(time) => {
            // These are to last while the machine runs.
            let moments = [
                state.class_lost.as_mut(),
                state.foreign_seen.as_mut(),
                state.unseated_since.as_mut(),
                state.running.as_mut().map(|running| &mut running.since),
            ];
            for moment in moments.into_iter().flatten() {
                *moment = (*moment + time).min(now);
            }
            state.awake_since = Some(now);
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

/// Has all that is remembered called what the policy calls it.
fn call_by_the_names_of(policy: &Policy, state: &mut State) {
    let running = state.running.as_mut().map(|running| &mut running.scheduler);
    let switching = state.switching.as_mut().map(|switch| &mut switch.to);
    let candidates = state.pins.named_mut().chain(switching);
    let candidates = candidates.chain([&mut state.held]);
    let schedulers = candidates.filter_map(|candidate| match candidate {
        Candidate::Kernel => None,
        Candidate::Scheduler(scheduler) => Some(scheduler),
    });
    for scheduler in schedulers.chain(running) {
        let names = policy.names_of(scheduler);
        if let Some(name) = names.first()
            && !names.contains(scheduler.name.as_str())
        {
            scheduler.name = (*name).to_owned();
        }
    }
}

fn switched(state: &mut State, to: Candidate, now: Moment) {
    let to = state.as_called_now(to);
    let (layer, counts) = state.end_switch(now);
    // If it was somebody else's seat, it is not any more.
    state.foreign_seen = None;
    if state.pin().is_some_and(|pin| pin.to.is_same_as(&to)) {
        state.pins.establish();
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
    state.hold_what_came();
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
    state.running = left.map(|scheduler| match before {
        Some(before) if before.scheduler.is_same_as(&scheduler) => before,
        // The new one, which cannot be ended.
        _ => Running {
            scheduler,
            since: now,
            layer,
            counts,
            blamed: matches!(fault, Fault::New(_)),
        },
    });
    state.hold_what_came();
    state.failed_at = (!matches!(fault, Fault::New(_))).then_some(now);
    if fault == Fault::Cancelled {
        state.pins.wait();
        return;
    }
    state.pins.failed(to);
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
        self.last_failure = error;
        self.failed_since = true;
    }

    /// What will run if nothing else happens.
    fn runs_or_will_run(&self) -> Candidate {
        match &self.switching {
            Some(switch) if !switch.cancelled => switch.to.clone(),
            _ => self.runs(),
        }
    }

    fn runs(&self) -> Candidate {
        match &self.running {
            Some(running) => Candidate::Scheduler(running.scheduler.clone()),
            None => Candidate::Kernel,
        }
    }

    /// Holds what runs after the switch during which the first of the holds began, whatever came of it: a
    /// hold forces no change.
    fn hold_what_came(&mut self) {
        if std::mem::take(&mut self.held_is_open) {
            self.held = self.runs();
        }
    }

    /// What a switch was to bring in, by the name that it has by now.
    fn as_called_now(&self, to: Candidate) -> Candidate {
        let switching = self.switching.as_ref().map(|switch| &switch.to);
        match switching.filter(|switching| switching.is_same_as(&to)) {
            Some(switching) => switching.clone(),
            None => to,
        }
    }

    /// Whether the kernel runs a scheduler that auto-ext did not start.
    pub(super) fn foreign_runs(&self) -> bool {
        matches!(self.kernel, KernelState::Enabled { .. }) && !self.ours
    }
}
