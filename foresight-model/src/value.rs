//! What a way to decide would be worth, from decisions that were made in another way and sometimes by chance: inverse propensity
//! weighting, self-normalised (Swaminathan and Joachims 2015), with an interval by a bootstrap of blocks.
//!
//! Two ways differ in worth only where they differ in what they do, so that only those decisions are compared: the rest would
//! add nothing but noise.
//!
//! A bootstrap knows nothing of what has not happened. What is rarer than was tried may be as bad as rewards can be, and counts
//! against the challenger: of so many decisions, with the same confidence, what none of them showed has at most three of the
//! chances (the rule of three: Hanley and Lippman-Hand 1983).

use crate::moves::WORST_MS;

/// The greatest weight of a decision: chances below a hundredth are taken for that. Rewards are not, so that the error is a
/// little towards what was done anyway.
pub const MAX_WEIGHT: f64 = 100.0;
/// How many decisions of each kind there must be, where the two differ, before anything is said of them.
pub const MIN_SEEN: usize = 30;
/// How sure the lower bound is.
pub const CONFIDENCE: f64 = 0.95;
/// How many decisions' worth of chances what was not seen may have, as sure as that.
const UNSEEN: f64 = 3.0;
/// How often blocks are drawn anew.
const DRAWS: usize = 1000;

/// A decision that was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    /// Whether the task was moved.
    pub moved: bool,
    /// How likely that was, above 0.
    pub propensity: f64,
    /// What came of it: from minus [`WORST_MS`] to 0.
    pub reward: f64,
}

/// What a challenger is worth beside an incumbent, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// What decisions by the incumbent are worth, on the average.
    pub incumbent: f64,
    /// How much more those of the challenger are.
    pub gain: f64,
    /// Above which that is, as sure as [`CONFIDENCE`].
    pub low: f64,
    /// In which share of all decisions they differ.
    pub differ: f64,
    /// How many decisions said something of the challenger where they differ, and how many of the incumbent.
    pub seen: [usize; 2],
}

/// Sums over a block of decisions, of the challenger and of the incumbent.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    weights: [f64; 2],
    squares: [f64; 2],
    rewards: [f64; 2],
    differing: f64,
    all: f64,
}

impl Worth {
    /// Whether the challenger is better.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.low > 0.0
    }

    /// Of decisions in the order in which they were made, with what the challenger and the incumbent would have done. `None` if
    /// too few say anything. The same seed gives the same bound.
    #[must_use]
    pub fn of(
        logged: &[Logged],
        challenger: &[bool],
        incumbent: &[bool],
        seed: u64,
    ) -> Option<Self> {
        let all: Vec<_> = logged.iter().zip(challenger).zip(incumbent).collect();
        let size = all.len().isqrt().max(1);
        let blocks: Vec<Sums> = all
            .chunks(size)
            .map(|block| {
                let mut sums = Sums::default();
                for ((logged, challenger), incumbent) in block {
                    sums.add(logged, **challenger, **incumbent);
                }
                sums
            })
            .collect();
        let mut seen = [0; 2];
        for ((logged, challenger), incumbent) in &all {
            if challenger != incumbent {
                seen[usize::from(logged.moved == **incumbent)] += 1;
            }
        }
        if seen.iter().any(|seen| *seen < MIN_SEEN) {
            return None;
        }
        let whole = Sums::total(&blocks);
        Some(Self {
            incumbent: incumbent_value(logged, incumbent)?,
            gain: whole.gain()?,
            low: low(&blocks, seed) - whole.unseen(),
            differ: whole.differing / whole.all,
            seen,
        })
    }
}

impl Sums {
    fn add(&mut self, logged: &Logged, challenger: bool, incumbent: bool) {
        self.all += 1.0;
        if challenger == incumbent {
            return;
        }
        self.differing += 1.0;
        let whose = usize::from(logged.moved == incumbent);
        self.weights[whose] += weight(logged);
        self.squares[whose] += weight(logged).powi(2);
        self.rewards[whose] += weight(logged) * logged.reward;
    }

    fn total<'s>(blocks: impl IntoIterator<Item = &'s Self>) -> Self {
        let mut total = Self::default();
        for block in blocks {
            for whose in 0..2 {
                total.weights[whose] += block.weights[whose];
                total.squares[whose] += block.squares[whose];
                total.rewards[whose] += block.rewards[whose];
            }
            total.differing += block.differing;
            total.all += block.all;
        }
        total
    }

    /// How much less the gain may be for what was not seen: the worst of the challenger, the best of the incumbent.
    fn unseen(&self) -> f64 {
        let room = |whose: usize| {
            let mean = self.rewards[whose] / self.weights[whose];
            let decisions = self.weights[whose].powi(2) / self.squares[whose];
            let extreme = [-WORST_MS, 0.0][whose];
            UNSEEN / decisions * (mean - extreme).abs()
        };
        (room(0) + room(1)) * self.differing / self.all
    }

    /// `None` if nothing is known of one of them.
    fn gain(&self) -> Option<f64> {
        if self.weights.iter().any(|weights| *weights <= 0.0) {
            return None;
        }
        let [challenger, incumbent] = [0, 1].map(|whose| self.rewards[whose] / self.weights[whose]);
        Some((challenger - incumbent) * self.differing / self.all)
    }
}

/// The bound: blocks of decisions that follow each other are drawn, as what comes of these depends on one another.
fn low(blocks: &[Sums], seed: u64) -> f64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut gains: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let drawn = blocks.iter().map(|_| &blocks[rng.usize(..blocks.len())]);
            // Of which nothing is known is as bad as can be.
            Sums::total(drawn).gain().unwrap_or(f64::NEG_INFINITY)
        })
        .collect();
    gains.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "between 0 and the number of draws"
    )]
    let rank = (DRAWS as f64 * (1.0 - CONFIDENCE)) as usize;
    gains[rank]
}

fn incumbent_value(logged: &[Logged], incumbent: &[bool]) -> Option<f64> {
    let (mut weights, mut rewards) = (0.0, 0.0);
    let matching = logged.iter().zip(incumbent);
    for (logged, _) in matching.filter(|(logged, incumbent)| logged.moved == **incumbent) {
        weights += weight(logged);
        rewards += weight(logged) * logged.reward;
    }
    (weights > 0.0).then(|| rewards / weights)
}

/// How many decisions this one stands for.
#[must_use]
pub fn weight(logged: &Logged) -> f64 {
    (1.0 / logged.propensity).min(MAX_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bandit of which all is known: moving is worth -1 where `x` is above a half and -3 elsewhere, staying -2.
    fn bandit(rng: &mut fastrand::Rng, count: usize, explore: f64) -> (Vec<Logged>, Vec<f64>) {
        let decide = |_| {
            let x = rng.f64();
            let explored = rng.f64() < explore;
            let moved = !explored;
            let mean = match (moved, x > 0.5) {
                (true, true) => -1.0,
                (true, false) => -3.0,
                (false, _) => -2.0,
            };
            let logged = Logged {
                moved,
                propensity: if explored { explore } else { 1.0 - explore },
                reward: mean + rng.f64() * 2.0 - 1.0,
            };
            (logged, x)
        };
        (0..count).map(decide).unzip()
    }

    fn worth(
        rng: &mut fastrand::Rng,
        count: usize,
        challenger: impl Fn(f64) -> bool,
    ) -> Option<Worth> {
        let (logged, xs) = bandit(rng, count, 0.05);
        let challenger: Vec<bool> = xs.into_iter().map(challenger).collect();
        Worth::of(&logged, &challenger, &vec![true; count], 7)
    }

    #[test]
    fn the_truth_about_a_bandit_is_found() {
        let mut rng = fastrand::Rng::with_seed(41);
        // Staying where that is better gains one, in half of the decisions.
        let best = worth(&mut rng, 20_000, |x| x > 0.5).unwrap();
        assert!((best.incumbent + 2.0).abs() < 0.05, "{best:?}");
        assert!((best.gain - 0.5).abs() < 0.05, "{best:?}");
        assert!(best.is_proven() && best.low < best.gain);
        assert!((best.differ - 0.5).abs() < 0.02);
        // Moving where staying is better loses as much.
        let worst = worth(&mut rng, 20_000, |x| x < 0.5).unwrap();
        assert!((worst.gain + 0.5).abs() < 0.05, "{worst:?}");
        assert!(!worst.is_proven());
    }

    #[test]
    fn the_bound_holds_as_often_as_it_says() {
        let mut rng = fastrand::Rng::with_seed(42);
        let rounds = 200;
        let holds = (0..rounds).filter(|_| {
            let worth = worth(&mut rng, 3000, |x| x > 0.5).unwrap();
            worth.low <= 0.5
        });
        // 95 of 100, less three standard errors.
        assert!(holds.count() >= 180);
    }

    #[test]
    fn what_is_no_better_is_seldom_proven_so() {
        let mut rng = fastrand::Rng::with_seed(43);
        // Staying everywhere is worth what moving everywhere is.
        let proven = (0..200).filter(|_| {
            let worth = worth(&mut rng, 3000, |_| false);
            worth.is_some_and(|worth| worth.is_proven())
        });
        assert!(proven.count() <= 20);
    }

    #[test]
    fn what_is_rarely_very_bad_is_not_proven_by_not_having_happened() {
        let mut rng = fastrand::Rng::with_seed(45);
        let proven = (0..200).filter(|_| {
            // Staying is a little better, but for one in a hundred times: worse on the whole.
            let decide = |_| {
                let moved = rng.u8(..50) > 0;
                let reward = match moved {
                    true => -1.1,
                    false if rng.u8(..100) == 0 => -WORST_MS,
                    false => -1.0,
                };
                Logged {
                    moved,
                    propensity: if moved { 0.98 } else { 0.02 },
                    reward,
                }
            };
            let logged: Vec<Logged> = (0..3000).map(decide).collect();
            let worth = Worth::of(&logged, &[false; 3000], &[true; 3000], 7).unwrap();
            // Some sixty were tried, so that often none of these was seen.
            worth.is_proven()
        });
        assert!(proven.count() <= 10);
    }

    #[test]
    fn of_what_was_hardly_tried_nothing_is_said() {
        let mut rng = fastrand::Rng::with_seed(44);
        assert_eq!(worth(&mut rng, 3000, |_| true), None);
        assert_eq!(worth(&mut rng, 300, |x| x > 0.9), None);
        assert_eq!(Worth::of(&[], &[], &[], 1), None);
    }

    #[test]
    fn chances_that_are_too_small_do_not_weigh_more() {
        let rare = Logged {
            moved: true,
            propensity: 1e-9,
            reward: -1.0,
        };
        assert!((weight(&rare) - MAX_WEIGHT).abs() < 1e-9);
    }
}
