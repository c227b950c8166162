//! The network is learned from the first two thirds of moves and judged by the last.

use super::lost::{Lost, MIN_AGREEMENT};
use crate::file::{Holdout, Moves};
use crate::fixed::from_q16;
use crate::imitate;
use crate::line::{Equations, RIDGE};
use crate::mlp::{Example, Schedule, Standard, train};
use crate::moves::INPUTS;
use crate::quantise::{Quantised, TooLarge, agreement};
use crate::samples::MoveSample;
use crate::value::{Logged, Worth, weight};

/// Where an answer has a task move: odds of one to one.
const THRESHOLD: f64 = 0.0;
/// The features, and one that is always 1.
const TERMS: usize = INPUTS + 1;

/// What is learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teacher {
    /// What came of moves.
    Outcomes,
    /// The rule with prices.
    Rule,
}

/// A network, if it fits the kernel, and how it does.
#[derive(Clone, Debug)]
pub struct Learned {
    /// It.
    pub moves: Option<Moves>,
    /// How it does.
    pub report: MoveReport,
}

/// How a network does on moves that were held out.
#[derive(Clone, Debug, PartialEq)]
pub struct MoveReport {
    /// How many moves there were.
    pub moves: usize,
    /// How many were held out.
    pub held_out: usize,
    /// For which share it says what the rule says.
    pub as_rule: f64,
    /// What it is worth beside the incumbent; `None` if too little was tried to say.
    pub worth: Option<Worth>,
    /// For which share integers say what floating point says.
    pub agreement: f64,
    /// The number that is too large for the kernel, if one is.
    pub too_large: Option<TooLarge>,
}

/// Learns from moves in the order in which they were made; `None` of fewer than three.
#[must_use]
pub fn train_moves(
    all: &[MoveSample],
    teacher: Teacher,
    incumbent: Option<&Quantised>,
    seed: u64,
) -> Option<Learned> {
    let (known, held_out) = all.split_at(all.len() / 3 * 2);
    if known.is_empty() {
        return None;
    }
    let features: Vec<_> = known.iter().map(|known| known.x.map(from_q16)).collect();
    let standard = Standard::of(&features);
    let features: Vec<_> = features.iter().map(|x| standard.apply(x)).collect();
    let examples = match teacher {
        Teacher::Rule => by_rule(known, &features),
        Teacher::Outcomes => by_outcomes(known, &features),
    };
    let network = train(&examples, &Schedule::default(), seed);
    let mut report = MoveReport {
        moves: all.len(),
        held_out: held_out.len(),
        as_rule: 0.0,
        worth: None,
        agreement: 0.0,
        too_large: None,
    };
    let quantised = match Quantised::of(&network, &standard, THRESHOLD) {
        Ok(quantised) => quantised,
        Err(error) => {
            report.too_large = Some(error);
            let moves = None;
            return Some(Learned { moves, report });
        }
    };
    let features: Vec<_> = held_out.iter().map(|held_out| held_out.x).collect();
    let says: Vec<bool> = features.iter().map(|x| quantised.moves(x)).collect();
    let before = |x| incumbent.is_none_or(|incumbent| incumbent.moves(x));
    let before: Vec<bool> = features.iter().map(before).collect();
    let logged: Vec<Logged> = held_out.iter().map(logged).collect();
    report.worth = Worth::of(&logged, &says, &before, seed);
    report.agreement = agreement(&quantised, &network, &standard, &features);
    let as_rule = features.iter().zip(&says);
    let as_rule = as_rule.filter(|(x, says)| imitate::moves(x) == **says);
    #[expect(clippy::cast_precision_loss, reason = "so many are not read")]
    let share = as_rule.count() as f64 / held_out.len() as f64;
    report.as_rule = share;
    let holdout = Holdout {
        n: held_out.len() as u64,
        value: report
            .worth
            .map_or(0.0, |worth| worth.incumbent + worth.gain),
        gain: report.worth.map_or(0.0, |worth| worth.gain),
        // As bad as can be, where nothing is known.
        low: report.worth.map_or(-crate::moves::WORST_MS, |worth| {
            worth.low.max(-crate::moves::WORST_MS)
        }),
        agreement: report.agreement,
    };
    let moves = Some(Moves {
        network,
        standard,
        threshold: THRESHOLD,
        holdout,
    });
    Some(Learned { moves, report })
}

/// What a network is worth beside always moving, and always moving beside it, by moves in the order in which they were made, of
/// which it has learned nothing. `None` where too little was tried to say.
#[must_use]
pub fn beside_always_moving(
    network: &Quantised,
    all: &[MoveSample],
    seed: u64,
) -> [Option<Worth>; 2] {
    let logged: Vec<Logged> = all.iter().map(logged).collect();
    let says: Vec<bool> = all.iter().map(|known| network.moves(&known.x)).collect();
    let always = vec![true; all.len()];
    [
        Worth::of(&logged, &says, &always, seed),
        Worth::of(&logged, &always, &says, seed),
    ]
}

fn logged(considered: &MoveSample) -> Logged {
    Logged {
        moved: considered.moved,
        propensity: considered.propensity,
        reward: considered.reward_ms(),
    }
}

fn by_rule(known: &[MoveSample], features: &[[f64; INPUTS]]) -> Vec<Example> {
    let examples = known.iter().zip(features);
    examples
        .map(|(known, features)| Example {
            features: *features,
            moves: imitate::moves(&known.x),
            weight: 1.0,
        })
        .collect()
}

/// What was done is right as far as it did better than is usual with such features, and wrong as far as it did worse; each counts
/// for as many as it stands for.
fn by_outcomes(known: &[MoveSample], features: &[[f64; INPUTS]]) -> Vec<Example> {
    let mut usual = Equations::<TERMS>::default();
    for (known, features) in known.iter().zip(features) {
        let logged = logged(known);
        usual.add_weighted(&terms(features), logged.reward, weight(&logged));
    }
    let usual = usual.solve(RIDGE, &[0.0; TERMS]).unwrap_or([0.0; TERMS]);
    let examples = known.iter().zip(features);
    examples
        .map(|(known, features)| {
            let logged = logged(known);
            let terms = terms(features);
            let expected: f64 = terms.iter().zip(&usual).map(|(x, w)| x * w).sum();
            let better = logged.reward - expected;
            Example {
                features: *features,
                moves: logged.moved == (better > 0.0),
                weight: better.abs() * weight(&logged),
            }
        })
        .collect()
}

fn terms(features: &[f64; INPUTS]) -> [f64; TERMS] {
    let mut terms = [1.0; TERMS];
    terms[..INPUTS].copy_from_slice(features);
    terms
}

impl MoveReport {
    /// How it lost, if it did.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        if let Some(error) = &self.too_large {
            return Some(Lost::TooLarge(error.clone()));
        }
        if self.agreement < MIN_AGREEMENT {
            return Some(Lost::Disagrees(self.agreement));
        }
        match &self.worth {
            None => Some(Lost::Untried),
            Some(worth) if !worth.is_proven() => Some(Lost::Unproven {
                gain: worth.gain,
                low: worth.low,
            }),
            Some(_) => None,
        }
    }
}
