//! From an event to the next state and what is to be done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auto_ext_policy::{Candidate, Policy};
use auto_ext_signals::{Process, ProcessEvent};

use crate::act::{act, follow_detachment};
use crate::choice::Precedence;
use crate::choose::{choose, classify, mode};
use crate::event::{Action, Event};
use crate::moment::Moment;
use crate::state::{Hold, State};
use crate::trial::follow_trials;

/// Applies `event`, which happened at `now`, to `state`, and says what is to be done.
///
/// `now` must not be less than in an earlier call.
#[must_use]
pub fn decide(policy: &Policy, state: &State, event: Event, now: Moment) -> (State, Vec<Action>) {
    let mut next = state.clone();
    let policy_changed = event == Event::PolicyChanged;
    apply(policy, &mut next, event, now);
    next.pins.end_those_over(now);
    classify(policy, &mut next, now, policy_changed);
    follow_detachment(&mut next, now);
    next.mode = mode(policy, &next, now);
    let mut actions = follow_trials(policy, &mut next, now);
    next.choice = choose(policy, &next, now);
    actions.extend(act(policy, &mut next, policy_changed, now));
    (next, actions)
}

/// What the event itself changes.
fn apply(policy: &Policy, state: &mut State, event: Event, now: Moment) {
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
        } => (state.kernel, state.ours) = (kernel, ours),
        Event::CoreScheduling(core_scheduling) => state.core_scheduling = core_scheduling,
        Event::Installed(installed) => state.installed = installed,
        Event::Switched { to } => state.switched(to, now),
        Event::SwitchFailed {
            to,
            error,
            fault,
            left,
        } => state.switch_failed(to, &error, fault, left, now),
        Event::SchedulerExited { scheduler, end } => state.exited(&scheduler, &end, now),
        Event::SchedulerEjected(end) => state.record_failure_of_running(&end, now),
        Event::Remembered(failures) => state.failures.remember(failures),
        Event::FailuresReset { command } => state.failures.forget(&command),
        Event::SafeModeEntered { why } => state.safe_mode.enter(&why, now),
        Event::SafeModeEnded => state.safe_mode.leave(),
        Event::PolicyProblem { error } => {
            state.policy_problem = Some(error);
            state.failed_since = false;
        }
        Event::PolicyChanged => policy_changed(policy, state, now),
        Event::Processes(events) => {
            let processes = Arc::make_mut(&mut state.processes);
            for event in events {
                follow(policy, processes, event);
            }
        }
        Event::Power(power) => state.power = power,
        Event::Profile(profile) => state.profile = profile,
        Event::Pinned { to, lasts, by } => {
            // A person who names one that failed wants to see it tried again.
            if let (Candidate::Scheduler(scheduler), None) = (&to, &by) {
                state.failures.try_again(scheduler, now);
            }
            state.pins.add(to, lasts, by, now);
        }
        Event::Unpinned => state.pins.clear(),
        Event::UnpinnedBy { program } => state.pins.unpinned_by(program.as_deref()),
        Event::ArgumentsAsked(arguments) => ask_for_arguments(state, arguments),
        Event::RestartAsked => state.restart_asked = state.running.is_some(),
        Event::Held {
            cookie,
            application,
            reason,
        } => hold(
            state,
            cookie,
            Hold {
                application,
                reason,
            },
        ),
        Event::Leased(lease) => state.leases.add(lease),
        Event::Released { cookie } => release(state, cookie),
        Event::Slept(time) => slept(state, time, now),
        Event::FallsAsleep => state.asleep = true,
        Event::WakesUp => {
            state.asleep = false;
            state.awake_since = Some(now);
        }
        Event::Outcome(reading) => state.trials.read(&reading, now),
        Event::Quiet(unquiet) => state.trials.others_unquiet(unquiet),
        Event::Seed(seed) => state.trials.seed(seed),
        Event::Learned { table, epoch } => state.trials.learned(*table, epoch, now),
        Event::Here(here) => state.trials.is_here(*here, now),
        Event::Consent(consent) => state.trials.consent(consent, now),
        Event::Compared { key, comparison } => state.trials.compared(&key, &comparison, now),
        Event::Imported(export) => state.trials.imported(*export),
        Event::TrialEnded => state.trials.drop_trial("a person ended it", now),
        Event::LearnedForgotten { class } => state.trials.forget(class.as_deref(), now),
    }
}

fn policy_changed(policy: &Policy, state: &mut State, now: Moment) {
    state.trials.drop_trial("the policy was edited", now);
    state.levels.set_thresholds(policy.signals);
    // Processes that the policy does not ask about are not reported any more, so they would stay for ever.
    Arc::make_mut(&mut state.processes).retain(|_, process| policy.wants(process));
    state.policy_problem = None;
    rename_as_in(policy, state);
}

fn hold(state: &mut State, cookie: u32, hold: Hold) {
    if state.holds.is_empty() {
        state.held = match state.trials.trial() {
            None => state.runs_or_will_run(),
            // What is tried is not what the application found.
            Some(trial) => trial.champion().clone(),
        };
        state.held_is_open = state.switching.is_some() && state.trials.trial().is_none();
    }
    state.holds.insert(cookie, hold);
}

fn release(state: &mut State, cookie: u32) {
    state.holds.remove(&cookie);
    let Some(lease) = state.leases.remove(cookie) else {
        return;
    };
    if let Some(running) = &mut state.running
        && let Candidate::Scheduler(leased) = &lease.to
        && running.precedence == Precedence::Hold
        && running.scheduler.is_same_as(leased)
    {
        running.may_leave = true;
    }
}

fn ask_for_arguments(state: &mut State, arguments: BTreeMap<String, Vec<String>>) {
    if let Some(running) = &mut state.running {
        let command = &running.scheduler.command;
        if arguments.get(command) != state.arguments_asked.get(command) {
            running.may_leave = true;
        }
    }
    state.arguments_asked = arguments;
}

/// Moves on what is to last for a time in which the machine is awake.
fn slept(state: &mut State, time: Duration, now: Moment) {
    let moments = [
        state.class_lost.as_mut(),
        state.foreign_seen.as_mut(),
        state.detached_since.as_mut(),
        state.running.as_mut().map(|running| &mut running.since),
        state
            .switching
            .as_mut()
            .and_then(|switch| switch.unwanted_since.as_mut()),
    ];
    for moment in moments.into_iter().flatten() {
        *moment = (*moment + time).min(now);
    }
    state.awake_since = Some(now);
    state.trials.slept(now);
}

/// Keeps the processes that the policy asks about up to date.
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

/// Gives all schedulers that are remembered the names that the policy has for them now.
fn rename_as_in(policy: &Policy, state: &mut State) {
    let running = state.running.as_mut().map(|running| &mut running.scheduler);
    let switching = state.switching.as_mut().map(|switch| &mut switch.to);
    let candidates = state.pins.named_mut().chain(state.leases.named_mut());
    let candidates = candidates.chain(switching).chain([&mut state.held]);
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
