//! What is remembered between events, and what is configured.

use std::sync::Arc;
use std::time::Duration;

use super::knowledge::Situation;
use super::learnt::Learnt;
use super::moment::Moment;
use super::patience::Patience;
use super::proof::Adopted;
use super::trying::Trying;

/// Whether anything is ever placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing is.
    Observe,
    /// What promises to be better is tried.
    Trial,
}

/// What is configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Whether anything is ever placed.
    pub act: Act,
    /// What has to be gained at least, in parts of the speed.
    pub margin: f64,
    /// How long what was adopted stays until it is tried anew.
    pub hold: Duration,
}

/// Everything that is remembered between events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(super) situation: Option<Arc<Situation>>,
    /// Why there is none.
    pub(super) no_situation: Option<String>,
    /// Why the counters are not believed; nothing until they are known to be.
    pub(super) counters: Counters,
    pub(super) other_scheduler: bool,
    /// When the other scheduler had left.
    pub(super) alone_since: Option<Moment>,
    /// Another auto-ext-smt places something, or undoes it.
    pub(super) ledger_in_use: bool,
    pub(super) pause: Pause,
    pub(super) trial_asked: bool,
    pub(super) phase: Phase,
    pub(super) last_trial: Option<Moment>,
    pub(super) patience: Patience,
    pub(super) learnt: Learnt,
    /// How many trials in a row were given up.
    pub(super) aborted: u32,
    /// Nothing is tried until then, as too many were given up.
    pub(super) observe_until: Option<Moment>,
}

/// Whether counters are to be believed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Counters {
    /// Nobody has said so yet.
    #[default]
    Unknown,
    Valid,
    /// Why not.
    Invalid(String),
}

/// Whether a person wants nothing to be placed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Pause {
    #[default]
    None,
    Until(Moment),
    Always,
}

/// What is under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Phase {
    /// Nothing is placed.
    #[default]
    Rest,
    Trying(Box<Trying>),
    Adopted(Box<Adopted>),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            act: Act::Observe,
            margin: 0.02,
            hold: Duration::from_secs(3600),
        }
    }
}

impl Pause {
    pub(super) fn is_over(self, now: Moment) -> bool {
        match self {
            Self::None => true,
            Self::Until(until) => now >= until,
            Self::Always => false,
        }
    }
}

impl State {
    /// Which candidate is placed now, if any.
    #[must_use]
    pub fn placed(&self) -> Option<&crate::plan::Placement> {
        let candidate = match &self.phase {
            Phase::Rest => None,
            Phase::Trying(trying) => trying.on().and_then(|at| trying.candidates.get(at)),
            Phase::Adopted(adopted) => Some(&adopted.candidate),
        };
        candidate.map(|candidate| &candidate.placement)
    }

    /// The groups and cores that are decided about.
    #[must_use]
    pub fn situation(&self) -> Option<&Arc<Situation>> {
        self.situation.as_ref()
    }

    /// What the placement that was adopted gains, as its trial says.
    #[must_use]
    pub fn gain(&self) -> Option<f64> {
        match &self.phase {
            Phase::Adopted(adopted) => Some(adopted.gain),
            Phase::Rest | Phase::Trying(_) => None,
        }
    }

    /// Whether that has proven to be as good as its trial said.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        matches!(&self.phase, Phase::Adopted(adopted) if adopted.is_proven())
    }

    /// Whether another auto-ext-smt has the ledger, as far as is known.
    #[must_use]
    pub fn is_ledger_in_use(&self) -> bool {
        self.ledger_in_use
    }

    /// Whether a trial is under way.
    #[must_use]
    pub fn is_trying(&self) -> bool {
        matches!(self.phase, Phase::Trying(_))
    }
}
