//! What is learned of moves while the scheduler runs: how the network does, whether it counts, and now and then another one. What
//! comes of moves is only known where chance decides now and then (`--explore`); without, all stays as the model file has it.

use std::time::{Duration, Instant};

use foresight_model::file::{Holdout, Moves};
use foresight_model::fixed::from_q16;
use foresight_model::quantise::Quantised;
use foresight_model::samples::MoveSample;
use foresight_model::train::Reservoir;
use serde::{Deserialize, Serialize};

use crate::considered::Considered;
use crate::options::Mode;
use crate::trainer::{Job, Outcome, Trainer};

/// How many moves are kept to learn from.
const KEPT: usize = 20_000;
/// How often there is something to learn.
const EVERY: Duration = Duration::from_secs(30);
/// How many moves there must be that are new.
const MIN_NEW: u64 = 1000;
/// Versions are even, and 0 is that of none.
const NEXT_VERSION: u32 = 2;

/// A network that the BPF programs have or are about to have.
struct Current {
    moves: Moves,
    quantised: Quantised,
    version: u32,
    is_published: bool,
    /// When the last move was that it may have learned from.
    since_ns: u64,
    /// It has done better here than always moving.
    is_trusted: bool,
    /// Of how many moves it was asked that are known, for how many it said go, and in how many floating point says the same.
    asked: u64,
    goes: u64,
    agrees: u64,
}

/// All of it.
pub(crate) struct MoveLearning {
    mode: Mode,
    explores: bool,
    current: Option<Current>,
    kept: Reservoir<MoveSample>,
    new: u64,
    rounds: u64,
    learned: u64,
    learned_at: Instant,
    trainer: Option<Trainer>,
}

/// What is said of it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MoveSummary {
    /// Whether there is a network.
    pub(crate) network: bool,
    /// Whether it has done better here than always moving.
    pub(crate) trusted: bool,
    /// Whether what it says is done.
    pub(crate) acting: bool,
    /// Of how many moves it was asked that were learned from.
    pub(crate) asked: u64,
    /// For which share of them it says go.
    pub(crate) goes: Option<f64>,
    /// For which share floating point says what the BPF programs say.
    pub(crate) agreement: Option<f64>,
    /// How often it was learned from what came of moves, whether or not anything did better by that.
    pub(crate) learned: u64,
}

impl Current {
    fn new(moves: Moves, version: u32, since_ns: u64, is_trusted: bool) -> Option<Self> {
        let quantised = moves.quantised().ok()?;
        Some(Self {
            moves,
            quantised,
            version,
            is_published: false,
            since_ns,
            is_trusted,
            asked: 0,
            goes: 0,
            agrees: 0,
        })
    }

    fn judge(&mut self, considered: &Considered) {
        let Some(verdict) = considered.verdict else {
            return;
        };
        if verdict.version != self.version {
            return;
        }
        let exact = considered.sample.x.map(from_q16);
        let logit = self.moves.network.logit(&self.moves.standard.apply(&exact));
        let goes = logit > self.moves.threshold;
        self.asked += 1;
        self.goes += u64::from(verdict.goes);
        self.agrees += u64::from(verdict.goes == goes);
    }
}

#[expect(clippy::cast_precision_loss, reason = "so many moves there are not")]
fn share(count: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| count as f64 / all as f64)
}

impl MoveLearning {
    /// Begins with this network, and whether it has proven itself here; `None` in a mode that learns nothing.
    pub(crate) fn new(mode: Mode, known: Option<(Moves, bool)>, explores: bool) -> Option<Self> {
        (mode != Mode::Baseline).then(|| Self {
            mode,
            explores,
            current: known
                .and_then(|(moves, is_trusted)| Current::new(moves, NEXT_VERSION, 0, is_trusted)),
            kept: Reservoir::new(KEPT, 1),
            new: 0,
            rounds: 0,
            learned: 0,
            learned_at: Instant::now(),
            trainer: None,
        })
    }

    /// Goes on with this network, of which nothing has been seen here yet.
    pub(crate) fn replace(&mut self, moves: Moves, is_trusted: bool) {
        if let Some(current) = Current::new(moves, self.next_version(), 0, is_trusted) {
            self.current = Some(current);
            // What is being learned is about another one.
            self.trainer = None;
        }
    }

    fn next_version(&self) -> u32 {
        let version = self.current.as_ref().map_or(0, |current| current.version);
        version.checked_add(NEXT_VERSION).unwrap_or(NEXT_VERSION)
    }

    /// Whether what the network says is done.
    pub(crate) fn acting(&self) -> bool {
        let is_trusted = self
            .current
            .as_ref()
            .is_some_and(|current| current.is_trusted && current.is_published);
        is_trusted && matches!(self.mode, Mode::Act | Mode::Auto)
    }

    /// Looks at what came of a move.
    pub(crate) fn take(&mut self, considered: Considered) {
        if let Some(current) = &mut self.current {
            current.judge(&considered);
        }
        if self.explores {
            self.kept.add(considered.sample);
            self.new += 1;
        }
    }

    /// Learns what there is to learn by now.
    pub(crate) fn work(&mut self, now: Instant) {
        if let Some(outcome) = self.trainer.as_mut().and_then(Trainer::outcome) {
            self.learn(outcome);
        }
        let is_time = now.duration_since(self.learned_at) >= EVERY && self.new >= MIN_NEW;
        let is_busy = self.trainer.as_ref().is_some_and(Trainer::is_busy);
        if !is_time || is_busy {
            return;
        }
        self.learned_at = now;
        // Where there can be no thread it is tried again the next time.
        self.trainer = self.trainer.take().or_else(|| Trainer::start().ok());
        let counts = self.acting();
        let current = self.current.as_ref();
        if let Some(trainer) = &mut self.trainer {
            self.new = 0;
            self.rounds += 1;
            trainer.give(Job {
                moves: self.kept.kept().to_vec(),
                network: current.map(|current| current.quantised.clone()),
                counts,
                since_ns: current.map_or(0, |current| current.since_ns),
                seed: self.rounds,
            });
        }
    }

    fn learn(&mut self, outcome: Outcome) {
        self.learned += 1;
        if let Some(current) = &mut self.current {
            let [better, worse] = outcome
                .beside
                .map(|worth| worth.is_some_and(|worth| worth.is_proven()));
            current.is_trusted |= better;
            // In other modes a person has decided.
            current.is_trusted &= !(worse && self.mode == Mode::Auto);
        }
        let version = self.next_version();
        if let Some(won) = outcome
            .won
            .and_then(|moves| Current::new(moves, version, outcome.until_ns, true))
        {
            self.current = Some(won);
        }
    }

    /// A network that the BPF programs are to have from now on, once, and under which version.
    pub(crate) fn publish(&mut self) -> Option<(&Quantised, u32)> {
        let current = self.current.as_mut()?;
        let is_published = std::mem::replace(&mut current.is_published, true);
        (!is_published).then_some((&current.quantised, current.version))
    }

    /// The network for the next time; one that has not proven itself here says so.
    pub(crate) fn to_keep(&self) -> Option<Moves> {
        self.current.as_ref().map(|current| {
            let mut moves = current.moves.clone();
            if !current.is_trusted {
                moves.holdout = Holdout::default();
            }
            moves
        })
    }

    /// What there is to say.
    pub(crate) fn summary(&self) -> MoveSummary {
        let current = self.current.as_ref();
        MoveSummary {
            network: current.is_some(),
            trusted: current.is_some_and(|current| current.is_trusted),
            acting: self.acting(),
            asked: current.map_or(0, |current| current.asked),
            goes: current.and_then(|current| share(current.goes, current.asked)),
            agreement: current.and_then(|current| share(current.agrees, current.asked)),
            learned: self.learned,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use foresight_model::mlp::{Network, Standard};
    use foresight_model::simulation::record_moves;
    use foresight_model::value::Worth;

    use super::*;
    use crate::considered::Verdict;

    /// A network that always says go, or never.
    pub(crate) fn planted(goes: bool) -> Moves {
        let network = Network {
            b2: if goes { 1.0 } else { -1.0 },
            ..Network::default()
        };
        Moves {
            network,
            standard: Standard::of(&[]),
            threshold: 0.0,
            holdout: Holdout {
                n: 1,
                low: 1.0,
                ..Holdout::default()
            },
        }
    }

    fn learning(mode: Mode, is_trusted: bool) -> MoveLearning {
        MoveLearning::new(mode, Some((planted(false), is_trusted)), true).unwrap()
    }

    fn outcome(gain: f64) -> Outcome {
        let worth = |gain| {
            Some(Worth {
                incumbent: -1.0,
                gain,
                low: gain,
                differ: 1.0,
                seen: [100, 100],
            })
        };
        Outcome {
            won: None,
            until_ns: 7,
            beside: [worth(gain), worth(-gain)],
        }
    }

    #[test]
    fn what_has_proven_itself_counts_where_it_is_to_and_nothing_else_does() {
        for (mode, is_trusted, acts) in [
            (Mode::Shadow, true, false),
            (Mode::Act, true, true),
            (Mode::Act, false, false),
            (Mode::Auto, true, true),
            (Mode::Auto, false, false),
        ] {
            let mut learning = learning(mode, is_trusted);
            assert!(!learning.acting(), "before the BPF programs have it");
            assert!(learning.publish().is_some() && learning.publish().is_none());
            assert_eq!(learning.acting(), acts, "{mode} {is_trusted}");
        }
        assert!(MoveLearning::new(Mode::Baseline, None, true).is_none());
    }

    #[test]
    fn it_counts_once_it_wins_and_no_longer_when_it_loses() {
        let mut learning = learning(Mode::Auto, false);
        learning.publish().unwrap();
        assert_eq!(learning.to_keep().unwrap().holdout, Holdout::default());
        learning.learn(outcome(1.0));
        assert!(learning.acting() && learning.to_keep().unwrap().holdout.low > 0.0);
        learning.learn(outcome(-1.0));
        assert!(!learning.acting());
        let won = Outcome {
            won: Some(planted(true)),
            ..outcome(-1.0)
        };
        learning.learn(won);
        assert_eq!(learning.publish().unwrap().1, 4);
        assert!(learning.acting());
    }

    #[test]
    fn another_network_is_published_and_begins_anew() {
        let mut learning = learning(Mode::Act, true);
        learning.publish().unwrap();
        learning.replace(planted(true), false);
        assert!(!learning.acting());
        assert_eq!(learning.publish().unwrap().1, 4);
        assert!(!learning.acting(), "it has not proven itself");
        learning.replace(planted(false), true);
        assert!(learning.publish().is_some() && learning.acting());
    }

    #[test]
    fn what_floating_point_says_is_compared_with_what_the_same_network_said_in_bpf() {
        let mut learning = learning(Mode::Shadow, false);
        let moves = record_moves(3, true, 1).into_iter();
        for (sample, (goes, version)) in moves.zip([(false, 2), (true, 2), (true, 4)]) {
            let verdict = Some(Verdict { goes, version });
            learning.take(Considered { sample, verdict });
        }
        let summary = learning.summary();
        assert_eq!((summary.asked, summary.agreement), (2, Some(0.5)));
        assert_eq!(summary.goes, Some(0.5));
    }

    #[test]
    fn without_chance_nothing_is_learned_and_with_it_once_in_a_while() {
        let begun = Instant::now();
        for explores in [false, true] {
            let mut learning = MoveLearning::new(Mode::Auto, None, explores).unwrap();
            for sample in record_moves(6000, true, 2) {
                learning.take(Considered {
                    sample,
                    verdict: None,
                });
            }
            learning.work(begun);
            assert!(learning.trainer.is_none(), "too early");
            learning.work(begun + 2 * EVERY);
            assert_eq!(learning.trainer.is_some(), explores);
            while learning.trainer.as_ref().is_some_and(Trainer::is_busy) {
                learning.work(begun);
                std::thread::yield_now();
            }
            assert_eq!(learning.publish().is_some(), explores);
            assert_eq!(learning.summary().learned, u64::from(explores));
        }
    }
}
