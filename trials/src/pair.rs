//! A pair of turns as it is kept for people and scripts, who can compute from it what was found.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::outcome::Measured;
use crate::record::Says;
use crate::since_1970;
use crate::turn::Done;
use crate::yardstick::{Metric, Yardstick};

/// Two turns, one of the candidate and one of the incumbent, and what came of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairRecord {
    /// When it ended, since 1970.
    #[serde(with = "since_1970")]
    pub at: Duration,
    /// What it is about.
    #[serde(flatten)]
    pub key: Key,
    /// Whether the candidate's turn was the first, by the coin.
    pub candidate_first: bool,
    /// What was measured in the candidate's turn, if it was finished.
    pub candidate: Option<Measured>,
    /// What was measured in the incumbent's.
    pub incumbent: Option<Measured>,
    /// The logarithm of how many times as good the candidate was; `None` where nothing came of the pair.
    pub ratio: Option<f64>,
    /// The same of what it must not be worse in.
    pub guards: BTreeMap<Metric, f64>,
    /// The e-value for that it is better, after this pair.
    pub e_better: f64,
    /// The e-value for that it is worse.
    pub e_worse: f64,
    /// How it ended.
    pub end: PairEnd,
}

/// How a pair ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "end", content = "why")]
pub enum PairEnd {
    /// Both turns were finished.
    Kept,
    /// The candidate had to leave at once, for this.
    Lost(String),
    /// Something else came, which says nothing.
    Dropped(String),
}

/// What a pair says; `None` when one of the turns has no number to compare.
pub(crate) fn says(yardstick: &Yardstick, candidate: &Done, incumbent: &Done) -> Option<Says> {
    let (of, with) = (&candidate.measured, &incumbent.measured);
    let ratio = yardstick.ratio(of, with)?.get();
    let guards = yardstick.guards.iter();
    let guards = guards.filter_map(|(metric, _)| Some((*metric, metric.ratio(of, with)?.get())));
    let halves = candidate.halves.zip(incumbent.halves);
    let halves = halves.and_then(|(of, with)| {
        let half = |n: usize| Some(yardstick.ratio(&of[n], &with[n])?.get());
        Some([half(0)?, half(1)?])
    });
    Some(Says {
        ratio,
        guards: guards.collect(),
        halves,
    })
}
