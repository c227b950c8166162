//! What should run, and why: the class, who decides, and the first candidate that can run.
//!
//! Whether the switch to it may be made now is decided in `act`.

use std::time::Duration;

use auto_ext_policy::{Candidate, Foreign, NO_CLASS, Policy, Rule, Scheduler};

use crate::choice::{Choice, Precedence};
use crate::kernel_state::KernelState;
use crate::leases::Lease;
use crate::mode::{Mode, ObserveCause};
use crate::moment::Moment;
use crate::pins::Pin;
use crate::state::State;

/// How long no scheduler must have been enabled after somebody else's was before one is started: schedulers load
/// themselves again after CPU hotplug, and services restart them.
const AFTER_FOREIGN: Duration = Duration::from_secs(15);

/// Follows the class. A rule that comes before the current one takes over at once, as levels are means over some time
/// already. One that comes after it takes over when the current one has not applied for `stability.settle`, or `at_once`.
pub(crate) fn classify(policy: &Policy, state: &mut State, now: Moment, at_once: bool) {
    let matched = match state.signals {
        Some(_) => policy.rule_for(&state.context()),
        None => None,
    };
    let class = matched.map_or(NO_CLASS, |rule| rule.class.as_str());
    if class == state.class {
        state.class_lost = None;
        return;
    }
    let comes_first = match (matched, policy.rule(&state.class)) {
        (Some(matched), Some(current)) => policy.comes_first(matched, current),
        // Without a current rule there is none to wait for.
        (_, None) => true,
        (None, Some(_)) => false,
    };
    let lost = *state.class_lost.get_or_insert(now);
    if at_once || comes_first || now.saturating_sub(lost) >= policy.stability.settle {
        state.class = class.to_owned();
        state.class_since = now;
        state.class_lost = None;
    }
}

/// Who decides.
pub(crate) fn mode(policy: &Policy, state: &State, now: Moment) -> Mode {
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
        _ if !state.core_scheduling.permits_schedulers() => {
            Mode::Observe(ObserveCause::CoreScheduling(state.core_scheduling.clone()))
        }
        _ if pin(state, now).is_some() => Mode::Pinned,
        _ if let Some(why) = state.safe_mode.reason(now) => {
            Mode::Observe(ObserveCause::Safe(why.to_owned()))
        }
        _ if free_soon && policy.foreign == Foreign::Respect => Mode::Yielded,
        // What is leased need not be in the policy.
        _ if none_installed && lease(state, now).is_none() => {
            Mode::Observe(ObserveCause::NoScheduler)
        }
        _ if !state.holds.is_empty() || lease(state, now).is_some() => Mode::Held,
        _ => Mode::Auto,
    }
}

/// What should run, and why.
pub(crate) fn choose(policy: &Policy, state: &State, now: Moment) -> Choice {
    if !state.core_scheduling.permits_schedulers() {
        let cause = ObserveCause::CoreScheduling(state.core_scheduling.clone());
        return best(state, Precedence::Danger, cause.to_string(), &[], now);
    }
    if let Some(pin) = pin(state, now) {
        let mut because = "pinned".to_owned();
        if let Some(by) = &pin.by {
            because.push_str(&format!(" by {by}"));
        }
        if let Some(lasts) = pin.lasts {
            because.push_str(&format!(" for {}", humantime::format_duration(lasts)));
        }
        return best(
            state,
            Precedence::Pin,
            because,
            std::slice::from_ref(&pin.to),
            now,
        );
    }
    if let Some(why) = state.safe_mode.reason(now) {
        // Only a person overrules it.
        let cause = ObserveCause::Safe(why.to_owned());
        return best(state, Precedence::Pin, cause.to_string(), &[], now);
    }
    let mut choice = match lease(state, now) {
        Some(lease) => best(
            state,
            Precedence::Hold,
            format!("leased by {} ({})", lease.application, lease.reason),
            std::slice::from_ref(&lease.to),
            now,
        ),
        None => choose_without_lease(policy, state, now),
    };
    let refused = leases_that_cannot_run(state, now);
    choice.rejected.splice(..0, refused);
    choice
}

/// The pin that is in force. Only a person overrules the safe mode: what a program pins at each boot may be what each boot dies of.
fn pin(state: &State, now: Moment) -> Option<&Pin> {
    let pin = state.pin()?;
    (pin.by.is_none() || state.safe_mode.reason(now).is_none()).then_some(pin)
}

/// The lease that is in force: the newest of those whose scheduler can run.
pub(crate) fn lease(state: &State, now: Moment) -> Option<&Lease> {
    let mut leases = state.leases.newest_first();
    leases.find(|lease| rejection(state, &lease.to, Precedence::Hold, now).is_none())
}

/// What the leases name that would come before the one in force, and why each cannot run.
fn leases_that_cannot_run(state: &State, now: Moment) -> Vec<(Candidate, String)> {
    let mut refused: Vec<(Candidate, String)> = Vec::new();
    for lease in state.leases.newest_first() {
        let Some(why) = rejection(state, &lease.to, Precedence::Hold, now) else {
            break;
        };
        if !refused.iter().any(|(other, _)| other.is_same_as(&lease.to)) {
            refused.push((lease.to.clone(), why));
        }
    }
    refused
}

/// What should run when only holds and the policy decide.
fn choose_without_lease(policy: &Policy, state: &State, now: Moment) -> Choice {
    if let Some(hold) = state.holds.values().next() {
        let others = match state.holds.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let because = format!("held by {} ({}){others}", hold.application, hold.reason);
        return best(
            state,
            Precedence::Hold,
            because,
            std::slice::from_ref(&state.held),
            now,
        );
    }
    if let Some(trial) = state.trials.trial() {
        let (arm, because) = (trial.arm(), trial.reason());
        let mut choice = best(state, Precedence::LOWEST, because, &[arm], now);
        choice.trial = true;
        return choice;
    }
    match policy.rule(&state.class) {
        Some(rule) => {
            let mut because = format!("class {} ({})", rule.class, evidence(rule, state));
            let (power, profile) = (state.power, state.profile);
            let found = state.trials.candidates(policy, rule, power, profile, now);
            if found.is_some() {
                because.push_str(", by what trials found here");
            }
            let candidates = found.as_ref().unwrap_or(&rule.candidates);
            let precedence = Precedence::Rule(rule.precedence());
            best(state, precedence, because, candidates, now)
        }
        None => {
            let because = match state.signals {
                None => "nothing has been measured yet",
                Some(_) => "no rule of the policy matches, so the kernel's own scheduler runs",
            };
            best(state, Precedence::LOWEST, because.to_owned(), &[], now)
        }
    }
}

/// The first of `candidates` that can run, or the kernel's own scheduler.
fn best(
    state: &State,
    precedence: Precedence,
    because: String,
    candidates: &[Candidate],
    now: Moment,
) -> Choice {
    let mut choice = Choice {
        desired: Candidate::Kernel,
        precedence,
        because,
        rejected: Vec::new(),
        waits: None,
        trial: false,
    };
    let candidates = candidates.iter().flat_map(|candidate| {
        let asked = with_arguments_asked(state, candidate, precedence);
        asked.into_iter().chain([candidate.clone()])
    });
    for candidate in candidates {
        match rejection(state, &candidate, precedence, now) {
            None => {
                choice.desired = candidate;
                break;
            }
            Some(why) => choice.rejected.push((candidate, why)),
        }
    }
    choice
}

/// What a rule asks for, with the arguments that a person asked for its program to have; `None` when they asked for none.
fn with_arguments_asked(
    state: &State,
    candidate: &Candidate,
    precedence: Precedence,
) -> Option<Candidate> {
    let (Candidate::Scheduler(scheduler), Precedence::Rule(_)) = (candidate, precedence) else {
        return None;
    };
    let args = state.arguments_asked.get(&scheduler.command)?;
    let (args, scheduler) = (args.clone(), scheduler.clone());
    let differs = args != scheduler.args;
    differs.then_some(Candidate::Scheduler(Scheduler { args, ..scheduler }))
}

/// Why `candidate` cannot be chosen at `now`; `None` when it can.
pub(crate) fn rejection(
    state: &State,
    candidate: &Candidate,
    precedence: Precedence,
    now: Moment,
) -> Option<String> {
    let Candidate::Scheduler(scheduler) = candidate else {
        return None;
    };
    // The file of one that runs may be about to be replaced. One that somebody named, or that ran when it was held,
    // need not be in the policy.
    let by_rule = matches!(precedence, Precedence::Rule(_));
    let runs = state
        .running()
        .is_some_and(|running| running.is_same_as(scheduler));
    if by_rule && !runs && !state.installed.contains(&scheduler.name) {
        return Some("is not installed".to_owned());
    }
    state.quarantine(candidate, now)
}

/// The conditions of the rule, in words. The values of signals change with every window and are shown beside the
/// reason, not in it.
fn evidence(rule: &Rule, state: &State) -> String {
    let when = &rule.when;
    let mut parts: Vec<String> = Vec::new();
    if let Some(process) = when.process(&state.processes) {
        let what = if when.processes.is_empty() {
            format!("cgroup {}", process.cgroup)
        } else {
            format!("process {}", process.comm)
        };
        parts.push(what);
    }
    parts.extend(when.power.map(|power| format!("power {power}")));
    parts.extend(when.profile.map(|profile| format!("profile {profile}")));
    parts.extend(
        when.levels
            .iter()
            .map(|(signal, level)| format!("{signal} {level}")),
    );
    if parts.is_empty() {
        return "no other rule matches".to_owned();
    }
    parts.join(", ")
}
