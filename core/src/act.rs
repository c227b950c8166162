//! What is to be done so that what should run does run, and the reasons for which that has to wait.

use std::time::Duration;

use auto_ext_policy::{Candidate, Foreign, Policy};

use crate::cause::{Cause, End};
use crate::choice::Precedence;
use crate::choose::lease;
use crate::event::Action;
use crate::kernel_state::KernelState;
use crate::leases::Lease;
use crate::limit::{COMPARED_PER_HOUR, Counts};
use crate::mode::{Mode, ObserveCause};
use crate::moment::Moment;
use crate::pins::Pin;
use crate::state::{Running, State, Switch};

/// How long a scheduler of ours may be detached before that counts as a failure: it may be loading itself again, for
/// which scx_lavd needs half a minute in an emulated machine.
const RELOAD_WITHIN: Duration = Duration::from_secs(60);
/// How long rules must want another scheduler until a switch that is on its way is cancelled. Loading takes seconds on a
/// slow machine, and loads that change their class within them would have no scheduler ever come in.
const UNWANTED_FOR: Duration = Duration::from_secs(3);
/// How long nothing new is tried after a switch that failed without a scheduler that could be quarantined for it.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long nothing is switched after the machine woke up: CPUs and devices come back one by one.
const AFTER_SLEEP: Duration = Duration::from_secs(5);

/// Follows, while no switch of ours is on its way, whether the kernel runs our scheduler or somebody else's.
pub(crate) fn follow_detachment(state: &mut State, now: Moment) {
    // During a switch the kernel passes through states that do not last.
    let enabled = matches!(state.kernel, KernelState::Enabled { .. });
    if state.foreign_runs() && state.switching.is_none() {
        state.foreign_seen = Some(now);
    }
    if state.running.is_none() || state.switching.is_some() || (enabled && state.ours) {
        state.detached_since = None;
        return;
    }
    let since = *state.detached_since.get_or_insert(now);
    if now.saturating_sub(since) >= RELOAD_WITHIN {
        let end = End {
            cause: Cause::Detached,
            text: "its process lives, but the kernel does not run it".to_owned(),
        };
        state.record_failure_of_running(&end, now);
    }
}

/// The actions by which what was chosen comes to run, as far as the policy's limits allow.
pub(crate) fn act(
    policy: &Policy,
    state: &mut State,
    policy_changed: bool,
    now: Moment,
) -> Vec<Action> {
    if state.switching.is_some() {
        return cancel_if_unwanted(state, policy_changed, now);
    }
    match state.mode {
        Mode::Auto | Mode::Pinned | Mode::Held => {}
        // What runs is ended; nothing else is done.
        Mode::Observe(ObserveCause::Safe(_) | ObserveCause::CoreScheduling(_))
            if state.running.is_some() => {}
        Mode::Observe(_) | Mode::Yielded => return Vec::new(),
    }
    let pinned = state
        .pin()
        .is_some_and(|pin| pin.to.is_same_as(&state.choice.desired));
    let replace_foreign = pinned || policy.foreign == Foreign::Replace;
    let foreign_in_the_way = replace_foreign && state.foreign_runs();
    match (&mut state.running, &state.choice.desired) {
        (None, Candidate::Kernel) if !foreign_in_the_way => {
            runs_already(state, pinned, now);
            return Vec::new();
        }
        (Some(running), Candidate::Scheduler(desired))
            if running.scheduler.is_same_as(desired)
                && !foreign_in_the_way
                && !state.restart_asked =>
        {
            // The name may be another one, or who asks for it; the process is the same.
            running.scheduler = desired.clone();
            running.precedence = state.choice.precedence;
            running.may_leave = state.choice.trial;
            runs_already(state, pinned, now);
            return Vec::new();
        }
        _ => {}
    }
    let urgent = state.restart_asked || state.pin().is_some_and(Pin::is_urgent);
    let counts = counts(state, urgent, now);
    let hindrance = hindrance(policy, state, urgent, foreign_in_the_way, now);
    if let Some(why) = hindrance.or_else(|| over_limit(policy, state, counts, now)) {
        state.choice.waits = Some(why);
        return Vec::new();
    }
    let reason = state.choice.to_string();
    let switch = Switch {
        to: state.choice.desired.clone(),
        reason: reason.clone(),
        unwanted_since: None,
        cancelled: false,
        precedence: state.choice.precedence,
        counts,
        trial: state.choice.trial,
    };
    state.choice.waits = Some(switch.progress());
    state.switching = Some(switch);
    state.restart_asked = false;
    if state.choice.trial {
        state.trials.switch_begins(now);
    }
    vec![Action::Switch {
        to: state.choice.desired.clone(),
        reason,
        replace_foreign,
        trial: state.choice.trial,
    }]
}

/// Cancels the switch that is on its way if something else should run: at once if that is the kernel's own scheduler, if who
/// wants it has more to say than who asked for the switch, if that was for a trial, or if the policy is another one; else when
/// it has been wanted for a while.
fn cancel_if_unwanted(state: &mut State, policy_changed: bool, now: Moment) -> Vec<Action> {
    let Some(switch) = &mut state.switching else {
        return Vec::new();
    };
    state.choice.waits = Some(switch.progress());
    if switch.to.is_same_as(&state.choice.desired) {
        // Perhaps under another name.
        switch.to = state.choice.desired.clone();
        switch.unwanted_since = None;
        if !state.asleep {
            return Vec::new();
        }
    }
    let since = *switch.unwanted_since.get_or_insert(now);
    let by_rules = state.mode == Mode::Auto
        && !switch.trial
        && state.choice.desired != Candidate::Kernel
        && matches!(switch.precedence, Precedence::Rule(_))
        && state.choice.precedence <= switch.precedence;
    let may_pass = by_rules && !policy_changed && !state.asleep;
    if switch.cancelled || (may_pass && now.saturating_sub(since) < UNWANTED_FOR) {
        return Vec::new();
    }
    // The load did this, and not that its scheduler cannot run any more, or somebody who came before it.
    let load_changed = state.class_since >= since && state.choice.is_for_a_load();
    if load_changed && !policy_changed && !state.asleep && switch.is_for_a_load() {
        state.brief_loads.add(now);
    }
    switch.cancelled = true;
    vec![Action::Cancel]
}

/// What should run does run.
fn runs_already(state: &mut State, pinned: bool, now: Moment) {
    if pinned {
        state.pins.establish();
    }
    state.leases.establish(&state.choice.desired);
    state.after_turn &= turn_in_force(state, now);
}

/// Against which limit the switch to what should run counts.
fn counts(state: &State, urgent: bool, now: Moment) -> Counts {
    if urgent {
        return Counts::Nowhere;
    }
    if turn_in_force(state, now) {
        return Counts::Turn;
    }
    if state.after_turn {
        return Counts::AfterTurn;
    }
    // For one whose start did not count against the policy's limit, no switch was reserved there.
    let running = state.running.as_ref();
    let is_reserved = running.is_none_or(|running| running.counts == Counts::Hourly);
    if state.choice.desired == Candidate::Kernel && !is_reserved {
        return Counts::Nowhere;
    }
    Counts::Hourly
}

/// Whether what should run is that for a turn of a comparison.
fn turn_in_force(state: &State, now: Moment) -> bool {
    state.choice.precedence == Precedence::Hold && lease(state, now).is_some_and(Lease::is_turn)
}

/// Why the switch to what should run has to wait, other than for the hourly limit.
fn hindrance(
    policy: &Policy,
    state: &State,
    urgent: bool,
    foreign_in_the_way: bool,
    now: Moment,
) -> Option<String> {
    let within = |at: Option<Moment>, time| at.is_some_and(|at| now.saturating_sub(at) < time);
    if state.asleep {
        return Some("waits because the machine is about to sleep".to_owned());
    }
    if within(state.awake_since, AFTER_SLEEP) {
        return Some("waits a moment after the machine woke up".to_owned());
    }
    if within(state.failed_at, AFTER_FAILURE) && !urgent && !lease_begins(state, now) {
        return Some("waits a moment after a switch that failed".to_owned());
    }
    if let Some(running) = &state.running {
        if !urgent && let Some(why) = stays(policy, state, running, now) {
            return Some(why);
        }
    } else if state.kernel != KernelState::Disabled && !foreign_in_the_way {
        return Some("waits until the kernel is ready for another scheduler".to_owned());
    }
    if urgent { None } else { too_brief(state, now) }
}

/// Why a load has to last for longer before a scheduler is loaded for it.
fn too_brief(state: &State, now: Moment) -> Option<String> {
    let loads = state.choice.is_for_a_load() && state.choice.desired != Candidate::Kernel;
    let needed = state.brief_loads.needed(now);
    let is_brief = loads && now.saturating_sub(state.class_since) < needed;
    is_brief.then(|| {
        let needed = humantime::format_duration(needed);
        format!("waits until the load has lasted for {needed}, as others ended while a scheduler was loading")
    })
}

/// Why the switch to what should run would exceed its hourly limit.
fn over_limit(policy: &Policy, state: &State, counts: Counts, now: Moment) -> Option<String> {
    match counts {
        // What the last turn reserved.
        Counts::Nowhere | Counts::AfterTurn => None,
        Counts::Hourly => {
            // One is reserved for the way back to the kernel's own scheduler.
            let needed = if state.choice.desired == Candidate::Kernel {
                1
            } else {
                2
            };
            let limit = policy.stability.max_switches_per_hour;
            let allowed = state.limit.allows(needed, limit, now);
            (!allowed).then(|| format!("waits because of the limit of {limit} switches per hour"))
        }
        Counts::Turn => {
            // One is reserved for the way back to what the policy wants.
            let allowed = state.compared.allows(2, COMPARED_PER_HOUR, now);
            (!allowed).then(|| {
                format!("waits because of the limit of {COMPARED_PER_HOUR} switches per hour for comparisons")
            })
        }
    }
}

/// Whether what should run is leased and has not run yet.
fn lease_begins(state: &State, now: Moment) -> bool {
    state.choice.precedence == Precedence::Hold && lease(state, now).is_some_and(Lease::is_new)
}

/// Why the scheduler that runs cannot be replaced yet.
pub(crate) fn stays(
    policy: &Policy,
    state: &State,
    running: &Running,
    now: Moment,
) -> Option<String> {
    let name = &running.scheduler.name;
    let min_run = policy.stability.min_run;
    let failed = state.failures.quarantine(&running.scheduler, now);
    match (state.detached_since, failed) {
        // It has failed, so anything else is better.
        (Some(_), Some(_)) => None,
        (Some(_), None) => Some(format!(
            "{name} is detached, perhaps while it loads itself again"
        )),
        (None, Some(error)) => Some(format!("{name} cannot be ended: {error}")),
        (None, None) if state.choice.precedence > running.precedence => None,
        // What an application asks for comes and goes with it.
        (None, None) if running.may_leave || lease_begins(state, now) => None,
        (None, None) if now.saturating_sub(running.since) < min_run => {
            let min_run = humantime::format_duration(min_run);
            Some(format!("{name} stays until it has run for {min_run}"))
        }
        (None, None) => None,
    }
}
