//! From an event to the next state and what is to be done.

use std::fmt::Write as _;
use std::time::Duration;

use super::Moment;
use super::event::{Action, Event, Fault};
use super::state::{ClassChange, Mode, ObserveCause, State, Switch};
use crate::kernel::KernelState;
use crate::policy::{Candidate, NO_CLASS, Policy, Rule};

/// How long a seat must have been empty after somebody else's scheduler left it before it is taken:
/// schedulers reload themselves after CPU hotplug, and services restart them.
const AFTER_FOREIGN: Duration = Duration::from_secs(15);
/// How long a scheduler of ours may be without its seat, which it loses to reload itself, before it
/// counts as failed. scx_lavd needs half a minute to load in an emulated machine.
const RELOAD_WITHIN: Duration = Duration::from_secs(60);

/// How long nothing new is tried after a switch that came to nothing through nobody's fault that could
/// be left alone for it.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Takes in `event`, which happened at `now`, and says what is to be done.
///
/// `now` never runs backwards from call to call.
#[must_use]
pub fn decide(policy: &Policy, state: &State, event: Event, now: Moment) -> (State, Vec<Action>) {
    let mut next = state.clone();
    take_in(&mut next, event, now);
    classify(policy, &mut next, now);
    watch_seat(&mut next, now);
    next.mode = mode(policy, &next, now);
    choose(policy, &mut next, now);
    let actions = act(policy, &mut next, now);
    (next, actions)
}

/// What the event itself changes.
fn take_in(state: &mut State, event: Event, now: Moment) {
    match event {
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
        Event::Switched { to } => {
            state.switching = None;
            state.unseated_since = None;
            state.limit.add(now);
            state.running = match to {
                Candidate::Kernel => None,
                Candidate::Scheduler(scheduler) => Some((scheduler, now)),
            };
        }
        Event::SwitchFailed {
            to,
            error,
            fault,
            left,
        } => {
            state.switching = None;
            state.unseated_since = None;
            let since = state.running.take().map(|(_, since)| since);
            state.running = left.map(|scheduler| (scheduler, since.unwrap_or(now)));
            // Loading is work, whatever came of it.
            state.limit.add(now);
            state.failed_at = (fault != Fault::New).then_some(now);
            if fault == Fault::Cancelled {
                return;
            }
            let blamed = match (fault, &state.running) {
                (Fault::New, _) => Some(to.name()),
                (Fault::Old, Some((old, _))) => Some(old.name.as_str()),
                (Fault::Old, None) | (Fault::Nobody | Fault::Cancelled, _) => None,
            };
            if let Some(name) = blamed {
                state.failures.add(name, &error, now);
            }
            state.last_error = format!("{to}: {error}");
        }
        Event::SchedulerExited { scheduler, error } => {
            if state.running().is_some_and(|running| *running == scheduler) {
                state.running = None;
            }
            state.limit.add(now);
            state.failures.add(&scheduler.name, &error, now);
            state.last_error = format!("{}: {error}", scheduler.name);
        }
        Event::PolicyProblem { error } => state.last_error = error,
    }
}

/// Follows the class: a new one counts once the levels have matched it for the settle time.
fn classify(policy: &Policy, state: &mut State, now: Moment) {
    let matched = match state.signals {
        Some(_) => policy
            .rule_for(&state.levels())
            .map_or(NO_CLASS, |rule| rule.class.as_str()),
        None => NO_CLASS,
    };
    if matched == state.class {
        state.class_change = None;
        return;
    }
    let since = match &state.class_change {
        Some(change) if change.class == matched => change.since,
        _ => now,
    };
    // Without a class there is nothing that could be held on to.
    if state.class == NO_CLASS || now.saturating_sub(since) >= policy.stability.settle {
        state.class = matched.to_owned();
        state.class_change = None;
    } else {
        state.class_change = Some(ClassChange {
            class: matched.to_owned(),
            since,
        });
    }
}

/// Follows who holds the seat when no switch of ours is on its way.
fn watch_seat(state: &mut State, now: Moment) {
    // A switch passes through states that say nothing about what will be.
    let enabled = matches!(state.kernel, KernelState::Enabled { .. });
    if enabled && !state.ours && state.switching.is_none() {
        state.foreign_seen = Some(now);
    }
    if state.running.is_none() || state.switching.is_some() || (enabled && state.ours) {
        state.unseated_since = None;
        return;
    }
    let since = *state.unseated_since.get_or_insert(now);
    if let Some((scheduler, _)) = &state.running
        && now.saturating_sub(since) >= RELOAD_WITHIN
        && state.failures.quarantine(&scheduler.name, now).is_none()
    {
        let error = "its process lives, but the kernel does not run it";
        state.failures.add(&scheduler.name, error, now);
        state.last_error = format!("{}: {error}", scheduler.name);
    }
}

fn mode(policy: &Policy, state: &State, now: Moment) -> Mode {
    let free_soon = state
        .foreign_seen
        .is_some_and(|seen| now.saturating_sub(seen) < AFTER_FOREIGN);
    let none_installed = policy.used_schedulers().next().is_some()
        && state.installed.is_empty()
        && state.running.is_none()
        && state.switching.is_none();
    match &state.kernel {
        KernelState::Unsupported => Mode::Observe(ObserveCause::NoSchedExt),
        _ if state.observe_asked => Mode::Observe(ObserveCause::Asked),
        KernelState::Unknown(why) => Mode::Observe(ObserveCause::KernelUnknown(why.clone())),
        _ if free_soon => Mode::Yielded,
        _ if none_installed => Mode::Observe(ObserveCause::NoScheduler),
        _ => Mode::Auto,
    }
}

/// What should run, and why.
fn choose(policy: &Policy, state: &mut State, now: Moment) {
    let rule = policy.rules.iter().find(|rule| rule.class == state.class);
    let Some(rule) = rule else {
        state.desired = Candidate::Kernel;
        state.reason = match state.signals {
            None => "nothing has been measured yet".to_owned(),
            Some(_) => {
                "no rule of the policy matches, so the kernel's own scheduler runs".to_owned()
            }
        };
        return;
    };
    let mut rejected = String::new();
    let mut chosen = Candidate::Kernel;
    for candidate in &rule.candidates {
        match rejection(state, candidate, now) {
            None => {
                chosen = candidate.clone();
                break;
            }
            Some(why) => {
                let _ = write!(rejected, "; {candidate} {why}");
            }
        }
    }
    state.reason = format!("class {} ({}){rejected}", rule.class, evidence(rule));
    state.desired = chosen;
}

/// Why `candidate` cannot be chosen at `now`; `None` when it can.
fn rejection(state: &State, candidate: &Candidate, now: Moment) -> Option<String> {
    let Candidate::Scheduler(scheduler) = candidate else {
        return None;
    };
    // One that runs does not mind that its file is being replaced.
    if state.running() != Some(scheduler) && !state.installed.contains(&scheduler.name) {
        return Some("is not installed".to_owned());
    }
    let error = state.failures.quarantine(&scheduler.name, now)?;
    Some(format!("is left alone because it failed: {error}"))
}

/// The levels that the rule asks for. The numbers behind them change with every window; they are
/// shown beside the reason, not in it.
fn evidence(rule: &Rule) -> String {
    if rule.levels.is_empty() {
        return "no other rule matches".to_owned();
    }
    let parts: Vec<String> = rule
        .levels
        .iter()
        .map(|(signal, level)| format!("{signal} {level}"))
        .collect();
    parts.join(", ")
}

/// What is to be done so that what should run does run, as far as the policy's limits allow.
fn act(policy: &Policy, state: &mut State, now: Moment) -> Vec<Action> {
    if let Some(switch) = &mut state.switching {
        let _ = write!(state.reason, "; {} is being brought in", switch.to);
        if switch.to == state.desired || switch.cancelled {
            return Vec::new();
        }
        switch.cancelled = true;
        return vec![Action::Cancel];
    }
    let same = match (&state.running, &state.desired) {
        (None, Candidate::Kernel) => true,
        (Some((running, _)), Candidate::Scheduler(desired)) => running == desired,
        _ => false,
    };
    if state.mode != Mode::Auto || same {
        return Vec::new();
    }
    if let Some(hindrance) = hindrance(policy, state, now) {
        let _ = write!(state.reason, "; {hindrance}");
        return Vec::new();
    }
    let switch = Switch {
        to: state.desired.clone(),
        reason: state.reason.clone(),
        cancelled: false,
    };
    state.switching = Some(switch.clone());
    vec![Action::Switch {
        to: switch.to,
        reason: switch.reason,
    }]
}

/// Why the switch to what should run has to wait.
fn hindrance(policy: &Policy, state: &State, now: Moment) -> Option<String> {
    let stability = &policy.stability;
    if state
        .failed_at
        .is_some_and(|at| now.saturating_sub(at) < AFTER_FAILURE)
    {
        return Some("waits a moment after a switch that came to nothing".to_owned());
    }
    if let Some((scheduler, since)) = &state.running {
        let name = &scheduler.name;
        match (state.unseated_since, state.failures.quarantine(name, now)) {
            // It has failed, so anything else is better.
            (Some(_), Some(_)) => {}
            (Some(_), None) => {
                return Some(format!(
                    "{name} has lost its seat, perhaps to take it again"
                ));
            }
            (None, Some(error)) => return Some(format!("{name} does not let go: {error}")),
            (None, None) if now.saturating_sub(*since) < stability.min_run => {
                let min_run = humantime::format_duration(stability.min_run);
                return Some(format!("{name} stays until it has run for {min_run}"));
            }
            (None, None) => {}
        }
    } else if state.kernel != KernelState::Disabled {
        return Some("waits until the kernel is ready for another scheduler".to_owned());
    }
    // One switch is kept back for the way home.
    let needed = if state.desired == Candidate::Kernel {
        1
    } else {
        2
    };
    let limit = stability.max_switches_per_hour;
    (!state.limit.allows(needed, limit, now))
        .then(|| format!("waits because of the limit of {limit} switches per hour"))
}
