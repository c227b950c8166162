//! What trials are told of how things stand, and what overrules them: everybody who overrules a load, and whatever else is in the way.

use std::time::Duration;

use auto_ext_policy::{Candidate, Policy, Scheduler};
use auto_ext_trials::{Deed, Situation, Unquiet};

use crate::act::stays;
use crate::choice::Precedence;
use crate::choose::{lease, rejection};
use crate::event::Action;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::state::State;

/// How long after the machine woke up nothing is tried.
const AFTER_SLEEP: Duration = Duration::from_mins(1);

/// Has trials follow what happened, and says what is to be done for them. What is to run is theirs to say from then on, as far as
/// nobody overrules them.
pub(crate) fn follow_trials(policy: &Policy, state: &mut State, now: Moment) -> Vec<Action> {
    let mut trials = std::mem::take(&mut state.trials);
    let runs = state.runs();
    let is_switching = state.switching.is_some();
    let can_run = |scheduler: &Scheduler| {
        let candidate = Candidate::Scheduler(scheduler.clone());
        rejection(state, &candidate, Precedence::LOWEST, now).is_none()
    };
    let limit = policy.stability.max_switches_per_hour as usize;
    let deeds = trials.step(
        &Situation {
            policy,
            class: &state.class,
            class_since: state.class_since,
            desired: (!state.choice.trial).then_some(&state.choice.desired),
            runs: &runs,
            is_switching,
            is_settled: is_settled(policy, state, &runs, now),
            unquiet: unquiet(state, now),
            can_run: &can_run,
            power: state.power,
            profile: state.profile,
            switches_left: limit.saturating_sub(state.limit.count(now)),
        },
        now,
    );
    state.trials = trials;
    let action = |deed| match deed {
        Deed::Measure(on) => Action::Measure(on),
        Deed::KeepPair(pair) => Action::KeepPair(pair),
        Deed::KeepTable => Action::KeepLearned,
        Deed::TrialEnded(end) => Action::TrialEnded(end),
    };
    deeds.into_iter().map(action).collect()
}

/// Whether what is to run runs, and may be replaced by what comes before nothing.
fn is_settled(policy: &Policy, state: &State, runs: &Candidate, now: Moment) -> bool {
    let may_leave = |running| stays(policy, state, running, now).is_none();
    state.choice.desired.is_same_as(runs)
        && state.choice.waits.is_none()
        && state
            .failed_at
            .is_none_or(|at| now.saturating_sub(at) >= AFTER_SLEEP)
        && state.running.as_ref().is_none_or(may_leave)
}

/// What is in the way of a trial, as far as it is known here.
fn unquiet(state: &State, now: Moment) -> Vec<Unquiet> {
    let mut unquiet = Vec::new();
    match &state.mode {
        Mode::Auto | Mode::Pinned | Mode::Held => {}
        Mode::Observe(cause) => unquiet.push(Unquiet::NotOurs(cause.to_string())),
        Mode::Yielded => {
            let why = "a scheduler that auto-ext did not start runs, or did a moment ago";
            unquiet.push(Unquiet::NotOurs(why.to_owned()));
        }
    }
    let woke = |at| now.saturating_sub(at) < AFTER_SLEEP;
    let states = [
        (state.pin().is_some(), Unquiet::Pinned),
        (!state.holds.is_empty(), Unquiet::Held),
        (lease(state, now).is_some(), Unquiet::Leased),
        (!state.arguments_asked.is_empty(), Unquiet::ArgumentsAsked),
        (
            state.asleep || state.awake_since.is_some_and(woke),
            Unquiet::Sleep,
        ),
    ];
    let holding = states.into_iter().filter(|(holds, _)| *holds);
    unquiet.extend(holding.map(|(_, unquiet)| unquiet));
    unquiet
}
