//! What is shown of trials: the one that is on, and what was found for each class. Its JSON is what scripts read.

use auto_ext_evidence::Evidence;
use auto_ext_policy::{Candidate, Goal, Profile};
use serde::{Deserialize, Serialize};

use crate::compared::JudgedBy;
use crate::exchange::Exported;
use crate::key::Key;
use crate::moment::Moment;
use crate::record::Closed;
use crate::table::Row;
use crate::trial::{PAIRS_PER_TRIAL, Trial};
use crate::yardstick::{Metric, Yardstick};

/// A trial that is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStatus {
    /// The class of the load.
    pub class: String,
    /// The policy's name of what is tried; `None` while the incumbent alone is measured.
    pub candidate: Option<String>,
    /// What runs now.
    pub runs: String,
    /// Which turn it is, from 1.
    pub turn: usize,
    /// How many there are at most.
    pub of_turns: usize,
    /// How many pairs are finished.
    pub pairs: usize,
    /// How many there are at most.
    pub of_pairs: usize,
    /// In how many seconds this turn ends, as far as is known.
    pub turn_ends_in: u64,
    /// What ran before, and runs after it.
    pub champion: String,
}

/// What was found of one scheduler under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassStatus {
    /// The class.
    pub class: String,
    /// What is better.
    pub goal: Goal,
    /// The program, and its arguments, as they were run.
    pub scheduler: String,
    /// The power profile under which that was found.
    pub profile: Option<Profile>,
    /// By how much it is better, as a logarithm.
    pub effect: Option<f64>,
    /// What the effect is of, unless `compared` says otherwise; `None` where nothing is compared.
    pub metric: Option<Metric>,
    /// What a comparison judged by that found it; `None` where trials did.
    #[serde(default)]
    pub compared: Option<JudgedBy>,
    /// Others found it, on machines like this one: it counts for the order of challengers alone.
    #[serde(default)]
    pub is_imported: bool,
    /// How many pairs there were.
    pub pairs: u32,
    /// The e-value for that it is better: what was proven had, or what the pairs say by now.
    pub e_better: Option<f64>,
    /// The e-value for that it is worse, by now.
    pub e_worse: Option<f64>,
    /// The guard that is nearest to being lost, and how near it is: 1 is lost.
    pub nearest_guard: Option<(Metric, f64)>,
    /// Whether it is proven to be better.
    pub is_proven: bool,
    /// Since when, in seconds since 1970.
    pub since: Option<u64>,
    /// Why it is not tried any more.
    pub closed: Option<Closed>,
    /// Why it is not tried for now.
    pub benched_for: Option<String>,
    /// Until when, in seconds since 1970.
    pub benched_until: Option<u64>,
    /// The last ratios, as logarithms.
    pub last: Vec<f64>,
}

impl TrialStatus {
    pub(crate) fn of(trial: &Trial, now: Moment) -> Self {
        Self {
            class: trial.class.clone(),
            candidate: trial.tried().map(str::to_owned),
            runs: trial.arm().name().to_owned(),
            turn: trial.turns + 1,
            of_turns: trial.most_turns(),
            pairs: trial.pairs,
            of_pairs: PAIRS_PER_TRIAL,
            turn_ends_in: trial.turn.ends(now).saturating_sub(now).as_secs(),
            champion: trial.champion.name().to_owned(),
        }
    }
}

impl ClassStatus {
    /// Of a row of the table, `at` this time since 1970.
    #[must_use]
    pub fn of(row: &Row, at: std::time::Duration) -> Self {
        let Row { key, record } = row;
        let bench = record.on_bench(at);
        let is_about_one = key.scheduler.is_some();
        let yardstick = Yardstick::all(key.goal).next().filter(|_| is_about_one);
        let evidence = yardstick.map(|yardstick| record.evidence(yardstick.design(1)));
        let guards = Yardstick::all(key.goal);
        let guards = guards.filter_map(|yardstick| record.nearest_guard(&yardstick));
        let (proven, compared) = (record.proven(), record.compared());
        Self {
            effect: record.effect(),
            compared: compared.map(|compared| compared.by),
            pairs: record.pairs().max(compared.map_or(0, |it| it.pairs)),
            e_better: match proven {
                Some(proven) => Some(proven.e_better),
                None => evidence.as_ref().map(Evidence::e_better),
            },
            e_worse: match compared {
                Some(compared) => Some(compared.e_worse),
                None => evidence.as_ref().map(Evidence::e_worse),
            },
            nearest_guard: guards.max_by(|(_, one), (_, other)| one.total_cmp(other)),
            is_proven: proven.is_some(),
            since: proven.map(|proven| proven.since.as_secs()),
            closed: record.closed(),
            benched_for: bench.map(|(_, why)| why.to_owned()),
            benched_until: bench.map(|(until, _)| until.as_secs()),
            last: record.ratios.iter().rev().take(5).rev().copied().collect(),
            ..Self::about(key)
        }
    }

    /// Of what others found.
    #[must_use]
    pub fn imported(exported: &Exported) -> Self {
        Self {
            effect: Some(exported.effect),
            pairs: exported.pairs,
            closed: exported.closed,
            is_imported: true,
            ..Self::about(&exported.key)
        }
    }

    /// Nothing is known.
    fn about(key: &Key) -> Self {
        let scheduler = key.scheduler.as_ref().map_or_else(
            || Candidate::Kernel.name().to_owned(),
            |build| {
                let words = std::iter::once(&build.command).chain(&build.args);
                words.map(String::as_str).collect::<Vec<_>>().join(" ")
            },
        );
        let yardstick = Yardstick::all(key.goal).next();
        let yardstick = yardstick.filter(|_| key.scheduler.is_some());
        Self {
            class: key.class.clone(),
            goal: key.goal,
            scheduler,
            profile: key.profile,
            effect: None,
            metric: yardstick.map(|yardstick| yardstick.primary),
            compared: None,
            is_imported: false,
            pairs: 0,
            e_better: None,
            e_worse: None,
            nearest_guard: None,
            is_proven: false,
            since: None,
            closed: None,
            benched_for: None,
            benched_until: None,
            last: Vec::new(),
        }
    }
}
