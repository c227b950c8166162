//! From an event to the next state and what is to be done.

use std::fmt::Write as _;

use auto_ext_profiler::LevelTracker;

use super::Moment;
use super::event::{Action, Event};
use super::state::{ClassChange, Mode, ObserveCause, State, Switch};
use crate::kernel::KernelState;
use crate::policy::{Candidate, NO_CLASS, Policy, Rule};

/// Takes in `event`, which happened at `now`, and says what is to be done.
///
/// `now` never runs backwards from call to call.
#[must_use]
pub fn decide(policy: &Policy, state: &State, event: Event, now: Moment) -> (State, Vec<Action>) {
    let mut next = state.clone();
    take_in(&mut next, event, now);
    classify(policy, &mut next, now);
    next.mode = mode(policy, &next);
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
        Event::NotMeasured { reason } => {
            state.levels = LevelTracker::new(*state.levels.thresholds());
            state.signals = None;
            state.last_error = reason;
        }
        Event::Kernel(kernel) => state.kernel = kernel,
        Event::Installed(installed) => state.installed = installed,
        Event::Switched { to } => {
            state.switching = None;
            state.limit.add(now);
            state.running = match to {
                Candidate::Kernel => None,
                Candidate::Scheduler(scheduler) => Some((scheduler, now)),
            };
        }
        Event::SwitchFailed { to, error, left } => {
            state.switching = None;
            state.limit.add(now);
            let since = state.running.take().map(|(_, since)| since);
            state.running = left.map(|scheduler| (scheduler, since.unwrap_or(now)));
            state.failures.add(to.name(), &error, now);
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

fn mode(policy: &Policy, state: &State) -> Mode {
    // While a switch is on its way the kernel shows what it passes through, not what will be.
    let foreign = matches!(state.kernel, KernelState::Enabled { .. })
        && state.running.is_none()
        && state.switching.is_none();
    let some_installed = policy.used_schedulers().next().is_none() || !state.installed.is_empty();
    match &state.kernel {
        KernelState::Unsupported => Mode::Observe(ObserveCause::NoSchedExt),
        _ if state.observe_asked => Mode::Observe(ObserveCause::Asked),
        KernelState::Unknown(why) => Mode::Observe(ObserveCause::KernelUnknown(why.clone())),
        _ if foreign => Mode::Yielded,
        _ if !some_installed => Mode::Observe(ObserveCause::NoScheduler),
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
    if !state.installed.contains(&scheduler.name) {
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
    if state.mode != Mode::Auto || state.switching.is_some() {
        return Vec::new();
    }
    let running = state.running.as_ref();
    let same = match (running, &state.desired) {
        (None, Candidate::Kernel) => true,
        (Some((running, _)), Candidate::Scheduler(desired)) => running == desired,
        _ => false,
    };
    if same {
        return Vec::new();
    }
    let stability = &policy.stability;
    // One switch is kept back for the way home.
    let needed = if state.desired == Candidate::Kernel {
        1
    } else {
        2
    };
    let hindrance = if let Some((scheduler, since)) = running
        && now.saturating_sub(*since) < stability.min_run
    {
        let min_run = humantime::format_duration(stability.min_run);
        Some(format!(
            "{} stays until it has run for {min_run}",
            scheduler.name
        ))
    } else if !state
        .limit
        .allows(needed, stability.max_switches_per_hour, now)
    {
        let limit = stability.max_switches_per_hour;
        Some(format!(
            "waits because of the limit of {limit} switches per hour"
        ))
    } else {
        // The way home failed a moment ago, so something does not let go of the kernel.
        state
            .failures
            .quarantine(state.desired.name(), now)
            .map(str::to_owned)
    };
    if let Some(hindrance) = hindrance {
        let _ = write!(state.reason, "; {hindrance}");
        return Vec::new();
    }
    let switch = Switch {
        to: state.desired.clone(),
        reason: state.reason.clone(),
    };
    state.switching = Some(switch.clone());
    vec![Action::Switch {
        to: switch.to,
        reason: switch.reason,
    }]
}
