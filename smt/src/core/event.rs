//! The events that decisions are made on, and the actions that they result in.

use std::sync::Arc;
use std::time::Duration;

use crate::groups::Key;

use super::history::Entry;
use super::knowledge::{Candidate, Situation};
use super::patience::Fruitless;

/// Everything that the decisions depend on.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The groups that may be placed and the cores, as they are now; or why there are none.
    Situation(Result<Arc<Situation>, String>),
    /// A window of counters, by the places of the groups.
    Window(Observed),
    /// Whether the counters are to be believed, and why not.
    Counters(Result<(), String>),
    /// The kernel runs a sched_ext scheduler with which nothing is placed, or none any more.
    OtherScheduler(bool),
    /// Another auto-ext-smt has the ledger, without which nothing is placed, or none has it any more.
    LedgerInUse(bool),
    /// Somebody else changed where a thread of this group may run.
    Foreign(Key),
    /// A person wants nothing to be placed for so long; `None`: until they say otherwise.
    Paused(Option<Duration>),
    /// A person ends that.
    Resumed,
    /// A person wants what was found back.
    RestoreAsked,
    /// A person wants a trial as soon as there is something to try.
    TrialAsked,
    /// What was tried in vain before the first event.
    Remembered(Vec<Fruitless>),
    /// Time passes.
    Tick,
}

/// What was counted in a window, by the places of the groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// How fast each was; `None` where that was not measured.
    pub speeds: Vec<Option<f64>>,
    /// How long each waited for CPUs, in parts of the time in which it ran.
    pub delays: Vec<Option<f64>>,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Have these groups run on these CPUs.
    Pin(Arc<Candidate>),
    /// Undo whatever was pinned.
    Restore,
    /// Report every window from now on, or no more than observing takes.
    Count(bool),
    /// Write this down, for people.
    Record(Entry),
    /// Keep this over restarts.
    Remember(Vec<Fruitless>),
}
