//! Which of many is best: rounds in which each of those that are left has a turn, in an order by chance, and after ever more
//! rounds the worse half is out (successive halving; Jamieson and Talwalkar, "Non-stochastic best arm identification and
//! hyperparameter optimization", 2016). Each stage takes about as many turns as the one before.
//!
//! Within a round a machine is about as fast for all, so that only their ratios are looked at. The best of many is partly
//! the luckiest: how good it is, only pairs tell that are made afterwards.

use crate::median::median;
use crate::ratio::{Better, NotPositive};

/// How many rounds the first stage has; each further one has twice as many, up to the most.
const FIRST_ROUNDS: usize = 2;
const MOST_ROUNDS: usize = 12;

/// The elimination. The same seed gives the same orders.
#[derive(Clone, Debug)]
pub struct Halving {
    chance: fastrand::Rng,
    better: Better,
    candidates: usize,
    /// Those that are left, the first given first.
    left: Vec<usize>,
    /// What each round said of each candidate, as the logarithm of how good it was; nothing of those that were out.
    rounds: Vec<Vec<Option<f64>>>,
    /// How many rounds this stage has, and how many of them are still to come.
    stage: usize,
    to_come: usize,
}

/// How a candidate did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Its number, from 0.
    pub candidate: usize,
    /// It is not out.
    pub is_left: bool,
    /// The rounds in which it had a turn.
    pub rounds: usize,
    /// How many times as good as those that are left it was, as a logarithm: the median of its rounds. Minus infinity
    /// where too many of its turns failed, `None` where it had none.
    pub score: Option<f64>,
}

impl Halving {
    /// Of so many candidates, by chance from this seed. `better` says which of two numbers is.
    #[must_use]
    pub fn new(seed: u64, candidates: usize, better: Better) -> Self {
        Self {
            chance: fastrand::Rng::with_seed(seed),
            better,
            candidates,
            left: (0..candidates).collect(),
            rounds: Vec::new(),
            stage: FIRST_ROUNDS,
            to_come: FIRST_ROUNDS,
        }
    }

    /// In which order those that are left have their turns in the next round; `None` when no more than one is left.
    pub fn next_round(&mut self) -> Option<Vec<usize>> {
        if self.left.len() <= 1 {
            return None;
        }
        let mut order = self.left.clone();
        self.chance.shuffle(&mut order);
        Some(order)
    }

    /// Adds what was measured in a round: candidates with their numbers, or `None` for a turn that failed, which is worse
    /// than any number. After the last round of a stage the worse half is out.
    ///
    /// # Errors
    /// When a number is not above 0: then the round does not count.
    pub fn add(&mut self, round: &[(usize, Option<f64>)]) -> Result<(), NotPositive> {
        let mut logarithms = vec![None; self.candidates];
        for (candidate, number) in round {
            let Some(slot) = logarithms.get_mut(*candidate) else {
                continue;
            };
            *slot = Some(match number {
                None => f64::NEG_INFINITY,
                Some(number) if number.is_finite() && *number > 0.0 => match self.better {
                    Better::Higher => number.ln(),
                    Better::Lower => -number.ln(),
                },
                Some(number) => return Err(NotPositive(*number)),
            });
        }
        self.rounds.push(logarithms);
        self.to_come = self.to_come.saturating_sub(1);
        if self.to_come == 0 {
            self.halve();
        }
        Ok(())
    }

    /// This candidate is out, as it cannot have a turn at all.
    pub fn remove(&mut self, candidate: usize) {
        self.left.retain(|left| *left != candidate);
    }

    fn halve(&mut self) {
        let mut standings: Vec<Standing> = self
            .standings()
            .into_iter()
            .filter(|it| it.is_left)
            .collect();
        // The sort is stable: of equals the one that was given first stays.
        standings.sort_by(|a, b| score(b).total_cmp(&score(a)));
        standings.truncate(self.left.len().div_ceil(2));
        standings.retain(|standing| score(standing) > f64::NEG_INFINITY);
        self.left = standings.iter().map(|it| it.candidate).collect();
        self.left.sort_unstable();
        self.stage = (2 * self.stage).min(MOST_ROUNDS);
        self.to_come = self.stage;
    }

    /// The numbers of those that are left.
    #[must_use]
    pub fn left(&self) -> &[usize] {
        &self.left
    }

    /// How all candidates did, by their numbers.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let centers: Vec<f64> = self.rounds.iter().map(|round| self.center(round)).collect();
        let standing = |candidate| {
            let rounds = self.rounds.iter().zip(&centers);
            let scores: Vec<f64> = rounds
                .filter_map(|(round, center)| Some(round[candidate]? - center))
                .collect();
            Standing {
                candidate,
                is_left: self.left.contains(&candidate),
                rounds: scores.len(),
                score: median(scores),
            }
        };
        (0..self.candidates).map(standing).collect()
    }

    /// How good those that are left were in a round: their median, as what is out may have been far off.
    fn center(&self, round: &[Option<f64>]) -> f64 {
        let of_left = self.left.iter().filter_map(|candidate| round[*candidate]);
        let center = median(of_left.filter(|logarithm| logarithm.is_finite()));
        center.unwrap_or_default()
    }

    /// How many turns there will be from now on, if nobody is removed.
    #[must_use]
    pub fn turns(&self) -> usize {
        let (mut left, mut stage, mut rounds) = (self.left.len(), self.stage, self.to_come);
        let mut turns = 0;
        while left > 1 {
            turns += left * rounds;
            left = left.div_ceil(2);
            stage = (2 * stage).min(MOST_ROUNDS);
            rounds = stage;
        }
        turns
    }
}

fn score(standing: &Standing) -> f64 {
    standing.score.unwrap_or(f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs it to its end: the times of each candidate come from `time`.
    fn ends(halving: &mut Halving, mut time: impl FnMut(usize) -> Option<f64>) -> usize {
        let mut turns = 0;
        while let Some(order) = halving.next_round() {
            let round: Vec<_> = order.iter().map(|it| (*it, time(*it))).collect();
            turns += round.len();
            halving.add(&round).unwrap();
        }
        turns
    }

    #[test]
    fn the_best_is_left_after_the_turns_that_were_announced() {
        let times = [1.2, 1.1, 0.9, 1.3, 1.0, 1.05];
        let mut halving = Halving::new(1, times.len(), Better::Lower);
        let announced = halving.turns();
        assert_eq!(announced, 6 * 2 + 3 * 4 + 2 * 8);
        assert_eq!(ends(&mut halving, |it| Some(times[it])), announced);
        assert_eq!(halving.left(), [2]);
        let standings = halving.standings();
        let rounds: Vec<usize> = standings.iter().map(|it| it.rounds).collect();
        assert_eq!(rounds.iter().sum::<usize>(), announced);
        assert_eq!((rounds[2], rounds[3]), (14, 2));
        // Against the one that is left.
        let score = standings[3].score.unwrap();
        assert!((score - (0.9f64 / 1.3).ln()).abs() < 1e-12, "{score}");
        assert_eq!(halving.next_round(), None);
    }

    #[test]
    fn higher_numbers_may_be_better() {
        let mut halving = Halving::new(1, 4, Better::Higher);
        ends(&mut halving, |it| Some(1.0 + it as f64));
        assert_eq!(halving.left(), [3]);
    }

    #[test]
    fn a_round_is_in_an_order_by_chance_from_its_seed() {
        let orders = |seed| {
            let mut halving = Halving::new(seed, 8, Better::Lower);
            (0..20)
                .map(|_| halving.next_round().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(orders(3), orders(3));
        assert_ne!(orders(3), orders(4));
        let first = orders(3).into_iter().map(|order| order[0]);
        let different: std::collections::BTreeSet<usize> = first.collect();
        assert!(different.len() > 4, "{different:?}");
    }

    #[test]
    fn a_slower_machine_in_one_round_is_nobodys_fault() {
        let mut halving = Halving::new(1, 4, Better::Lower);
        let mut turn = 0;
        ends(&mut halving, |it| {
            turn += 1;
            let slower = if (5..=8).contains(&turn) { 100.0 } else { 1.0 };
            Some(slower * (2.0 - 0.1 * it as f64))
        });
        assert_eq!(halving.left(), [3]);
    }

    #[test]
    fn who_fails_is_out_and_if_all_do_nobody_is_left() {
        let mut halving = Halving::new(1, 4, Better::Lower);
        halving.remove(1);
        ends(&mut halving, |it| (it != 0).then_some(1.0 + it as f64));
        assert_eq!(halving.left(), [2]);
        let standings = halving.standings();
        assert_eq!(standings[0].score, Some(f64::NEG_INFINITY));
        assert_eq!((standings[1].score, standings[1].is_left), (None, false));
        let mut halving = Halving::new(1, 4, Better::Lower);
        ends(&mut halving, |_| None);
        assert!(halving.left().is_empty());
    }

    #[test]
    fn a_number_that_is_none_makes_no_round() {
        let mut halving = Halving::new(1, 2, Better::Lower);
        assert!(halving.add(&[(0, Some(1.0)), (1, Some(0.0))]).is_err());
        assert!(halving.add(&[(0, Some(f64::NAN))]).is_err());
        assert_eq!(halving.standings()[0].rounds, 0);
    }

    proptest! {
        #[test]
        fn it_ends_whatever_is_measured(
            candidates in 0usize..40, seed: u64, times in prop::collection::vec(prop::option::of(1e-3..1e3), 1..50),
        ) {
            let mut halving = Halving::new(seed, candidates, Better::Lower);
            let announced = halving.turns();
            let mut next = times.iter().cycle();
            let turns = ends(&mut halving, |_| *next.next().unwrap());
            prop_assert!(turns <= announced && halving.left().len() <= 1, "{turns}, {announced}");
            prop_assert_eq!(halving.turns(), 0);
        }
    }
}
