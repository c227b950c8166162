//! One trial: a few turns of the incumbent, by which the load is known, and a few pairs with one challenger.

use std::time::Duration;

use auto_ext_evidence::Pair;
use auto_ext_policy::{Candidate, Goal, Profile, Scheduler};

use crate::guard::{Guard, Reference};
use crate::key::Key;
use crate::moment::Moment;
use crate::noise::SHAM_PAIRS;
use crate::outcome::Measured;
use crate::turn::{Done, Turn};
use crate::yardstick::Yardstick;

/// How many pairs a trial has at most. Then the champion runs for a while, so that pairs are spread over times of the day.
pub const PAIRS_PER_TRIAL: usize = 4;

/// A trial that is on.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The class of the load.
    pub(crate) class: String,
    /// What ran before, and runs after it.
    pub(crate) champion: Candidate,
    /// What the first turns are of.
    pub(crate) incumbent: Candidate,
    pub(crate) profile: Option<Profile>,
    /// For how long is measured in each turn.
    pub(crate) arm: Duration,
    pub(crate) stage: Stage,
    pub(crate) turn: Turn,
    /// How things are under the incumbent, once that is known.
    pub(crate) reference: Option<Reference>,
    /// What the incumbent's last turn measured.
    pub(crate) measured: Option<Measured>,
    pub(crate) guard: Guard,
    /// Turns that were finished.
    pub(crate) turns: usize,
    /// Pairs that were finished.
    pub(crate) pairs: usize,
}

/// A trial that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialEnd {
    /// The class of the load.
    pub class: String,
    /// The policy's name of what was tried last; `None` when it was the incumbent alone.
    pub candidate: Option<String>,
    /// How many pairs were finished.
    pub pairs: usize,
    /// What came of it, for people.
    pub outcome: String,
    /// The guard that ended it at once, if one did: a word such as `wait`.
    pub guard: Option<&'static str>,
}

/// What the turns are for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    /// To know the load and its noise.
    Incumbent,
    /// To compare.
    Pair(Box<PairTrial>),
}

/// A pair on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PairTrial {
    pub(crate) scheduler: Scheduler,
    pub(crate) key: Key,
    pub(crate) goal: Goal,
    pub(crate) yardstick: Yardstick,
    /// How many challengers the class has.
    pub(crate) challengers: usize,
    pub(crate) order: Pair,
    /// What the first turn measured, once it is finished.
    pub(crate) first: Option<Done>,
    /// It is the first pair with this challenger in this trial.
    pub(crate) begins: bool,
    /// The challenger is proven to be better.
    pub(crate) proven: bool,
    /// For how long the machine settles.
    pub(crate) settle: Duration,
}

impl PairTrial {
    /// Whether the turn that is on is the candidate's.
    pub(crate) fn is_candidates_turn(&self) -> bool {
        self.order.challenger_first == self.first.is_none()
    }

    /// The turns of the candidate and of the incumbent, as far as they are finished.
    pub(crate) fn finished(&self) -> (Option<&Done>, Option<&Done>) {
        let first = self.first.as_ref();
        if self.order.challenger_first {
            (first, None)
        } else {
            (None, first)
        }
    }
}

impl Trial {
    /// What is to run now.
    #[must_use]
    pub fn arm(&self) -> Candidate {
        match &self.stage {
            Stage::Incumbent => self.incumbent.clone(),
            Stage::Pair(pair) if pair.is_candidates_turn() => {
                Candidate::Scheduler(pair.scheduler.clone())
            }
            Stage::Pair(_) => Candidate::Kernel,
        }
    }

    /// The policy's name of what is tried; `None` while the incumbent alone is measured.
    pub(crate) fn tried(&self) -> Option<&str> {
        match &self.stage {
            Stage::Incumbent => None,
            Stage::Pair(pair) => Some(&pair.scheduler.name),
        }
    }

    /// How many turns it has at most, as far as is known by now.
    pub(crate) fn most_turns(&self) -> usize {
        let of_the_incumbent = match &self.stage {
            // The first tells the load, each further one makes a pair with the one before.
            Stage::Incumbent => (SHAM_PAIRS + 1).max(self.turns + 1),
            Stage::Pair(pair) => self.turns - 2 * self.pairs - usize::from(pair.first.is_some()),
        };
        of_the_incumbent + 2 * PAIRS_PER_TRIAL
    }

    /// The candidate whose turn it is.
    pub(crate) fn candidate(&self) -> Option<&PairTrial> {
        match &self.stage {
            Stage::Pair(pair) if pair.is_candidates_turn() => Some(pair),
            Stage::Pair(_) | Stage::Incumbent => None,
        }
    }

    pub(crate) fn begin_turn(&mut self, settle: Duration, now: Moment) {
        self.turn = Turn::new(settle, self.arm, now);
        self.guard = Guard::default();
    }

    /// What ran before, and runs after it.
    #[must_use]
    pub fn champion(&self) -> &Candidate {
        &self.champion
    }

    /// Why what runs does, for people.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.stage {
            Stage::Incumbent => format!("trial of class {}: how it is without one", self.class),
            Stage::Pair(pair) => format!(
                "trial of class {}: {} against kernel, pair {} of {PAIRS_PER_TRIAL}",
                self.class,
                pair.scheduler.name,
                self.pairs + 1
            ),
        }
    }
}
