//! What keeps a trial from beginning.

use serde::{Deserialize, Serialize};

use crate::plan::Room;

use super::moment::Moment;
use super::state::{Act, Config, Counters, State};

/// How far trials are apart at least, in seconds: they take a part of the time that is spent well only if they are few.
const BETWEEN_TRIALS: u64 = 3600;
/// How long the kernel's own scheduler has to run before anything is placed, in seconds.
const ALONE: u64 = 60;
/// What is said where somebody else has the ledger.
pub(super) const LEDGER_IN_USE: &str = "another auto-ext-smt is at work";

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing can be said or placed here.
    Unavailable,
    /// Only looks.
    Observe,
    /// Would try something if there were something to try.
    Idle,
    /// Tries something.
    Trial,
    /// Something better than what was found is in place.
    Active,
    /// A person wants nothing to be placed.
    Paused,
    /// Another scheduler places tasks.
    Yielded,
}

/// What is under way and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What is under way.
    pub mode: Mode,
    /// Why, in a few words.
    pub reason: String,
}

/// What keeps a trial from beginning, in the order in which it is looked at; `None` when nothing does.
pub(super) fn obstacle(config: &Config, state: &State, now: Moment) -> Option<Explanation> {
    let because = |mode, reason: &str| {
        Some(Explanation {
            mode,
            reason: reason.to_owned(),
        })
    };
    if !state.pause.is_over(now) {
        return because(Mode::Paused, "paused");
    }
    if state.other_scheduler {
        return because(Mode::Yielded, "a sched_ext scheduler runs");
    }
    let alone = Moment::from_secs(ALONE);
    if state
        .alone_since
        .is_some_and(|since| now.saturating_sub(since) < alone)
    {
        return because(Mode::Yielded, "a sched_ext scheduler has just left");
    }
    if state.ledger_in_use {
        return because(Mode::Idle, LEDGER_IN_USE);
    }
    match &state.counters {
        Counters::Valid => {}
        Counters::Unknown => {
            return because(Mode::Unavailable, "the counters were not checked yet");
        }
        Counters::Invalid(why) => return because(Mode::Unavailable, why),
    }
    let Some(situation) = &state.situation else {
        let why = state.no_situation.as_deref();
        return because(
            Mode::Unavailable,
            why.unwrap_or("the machine was not looked at yet"),
        );
    };
    if config.act == Act::Observe {
        return because(Mode::Observe, "nothing is placed: act is observe");
    }
    if state.observe_until.is_some_and(|until| now < until) {
        return because(Mode::Observe, "three trials in a row were given up");
    }
    match situation.room() {
        Room::TooFew => return because(Mode::Idle, "each worker can have a core for itself"),
        Room::TooMany => return because(Mode::Idle, "there are more workers than CPUs"),
        Room::Open => {}
    }
    let between = Moment::from_secs(BETWEEN_TRIALS);
    if state
        .last_trial
        .is_some_and(|last| now.saturating_sub(last) < between)
    {
        return because(Mode::Idle, "the last trial was less than an hour ago");
    }
    let until = state.patience.until(&situation.jobs());
    if !state.trial_asked && until.is_some_and(|until| now < until) {
        return because(Mode::Idle, "these jobs were tried in vain");
    }
    None
}
