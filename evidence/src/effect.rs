//! How large the difference is: the Hodges-Lehmann estimate of the median of the ratios, with Tukey's distribution-free
//! interval from the signed-rank statistic. See Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (3rd
//! edition, 2014), 3.2 and 3.3.
//!
//! It needs ratios that are as often so far above as so far below their middle, for which the coin stands, and no
//! distribution. It is exact for a number of pairs that was fixed before; where the evidence ended the comparison, the
//! middle is a little further from 0 than the truth.

use crate::median::median;
use crate::ratio::LogRatio;

/// How sure the interval is to have the median in it, at least.
const CONFIDENCE: f64 = 0.95;
/// Of more pairs than these, only the first are taken: there is a mean for every two.
const MAX: usize = 300;

/// How many times as good a challenger is, as a logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// The median.
    pub median: f64,
    /// Between which two values it is; `None` of too few pairs to say.
    pub interval: Option<Interval>,
}

/// Two logarithms of ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Effect {
    /// Of these pairs; `None` when there is none.
    #[must_use]
    pub fn of(ratios: &[LogRatio]) -> Option<Self> {
        let ratios: Vec<f64> = ratios.iter().take(MAX).map(|ratio| ratio.get()).collect();
        let mut means = walsh_averages(&ratios);
        means.sort_by(f64::total_cmp);
        let median = median(means.iter().copied())?;
        let interval = outside(ratios.len()).map(|outside| Interval {
            low: means[outside],
            high: means[means.len() - 1 - outside],
        });
        Some(Self { median, interval })
    }
}

/// The mean of each two, and of each with itself.
fn walsh_averages(ratios: &[f64]) -> Vec<f64> {
    let from = |at: usize| {
        ratios[at..]
            .iter()
            .map(move |other| ratios[at].midpoint(*other))
    };
    (0..ratios.len()).flat_map(from).collect()
}

/// How many of the means are left out at each end: one more than the signed-rank statistic of so many pairs, if they are
/// symmetric about 0, is below with half of what the confidence leaves. `None` if even the outermost two are too close.
fn outside(pairs: usize) -> Option<usize> {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let mut below = 0.0;
    let mut count = 0;
    for probability in signed_rank(pairs) {
        below += probability;
        if below > tail {
            break;
        }
        count += 1;
    }
    // The statistic is at most `count - 1` with that probability, so that the ends are the means number `count`.
    usize::checked_sub(count, 1)
}

/// With which probability the ranks of those above 0 have which sum, from 0, if each of `pairs` is above 0 by a fair coin.
fn signed_rank(pairs: usize) -> Vec<f64> {
    let mut probabilities = vec![1.0];
    for rank in 1..=pairs {
        let mut next = vec![0.0; probabilities.len() + rank];
        for (sum, probability) in probabilities.iter().enumerate() {
            next[sum] += probability / 2.0;
            next[sum + rank] += probability / 2.0;
        }
        probabilities = next;
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ratio::Better;

    fn ratios(of: &[f64]) -> Vec<LogRatio> {
        let one = |ratio: &f64| LogRatio::of(ratio.exp(), 1.0, Better::Higher).unwrap();
        of.iter().map(one).collect()
    }

    fn is_near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    /// Hollander, Wolfe and Chicken, table A.4: the upper critical values t for n, and so n (n + 1) / 2 + 1 - t, which is
    /// the number of the mean at which the interval begins, from 1.
    #[test]
    fn the_ends_are_those_of_the_tables() {
        let from_one = |pairs| outside(pairs).map(|outside| outside + 1);
        for (pairs, end) in [
            (6, 1),
            (7, 3),
            (8, 4),
            (9, 6),
            (10, 9),
            (12, 14),
            (15, 26),
            (20, 53),
        ] {
            assert_eq!(from_one(pairs), Some(end), "{pairs}");
        }
        assert_eq!((0..6).filter_map(outside).next(), None);
    }

    #[test]
    fn of_six_pairs_the_interval_is_from_the_least_to_the_greatest() {
        let effect = Effect::of(&ratios(&[0.01, -0.02, 0.03, 0.10, 0.05, 0.04])).unwrap();
        let Interval { low, high } = effect.interval.unwrap();
        assert!(is_near(low, -0.02) && is_near(high, 0.10), "{effect:?}");
        let effect = Effect::of(&ratios(&[0.01, -0.02])).unwrap();
        assert!(is_near(effect.median, -0.005) && effect.interval.is_none());
        assert_eq!(Effect::of(&[]), None);
    }

    #[test]
    fn the_interval_has_the_median_in_it_as_often_as_it_says() {
        let mut chance = fastrand::Rng::with_seed(11);
        let mut within = 0;
        for _ in 0..2000 {
            let pairs: Vec<f64> = (0..12).map(|_| 0.05 + 0.1 * (chance.f64() - 0.5)).collect();
            let interval = Effect::of(&ratios(&pairs)).unwrap().interval.unwrap();
            within += usize::from((interval.low..=interval.high).contains(&0.05));
        }
        // By the table 95.8 %; four standard deviations.
        assert!((1880..=1952).contains(&within), "{within}");
    }

    proptest! {
        #[test]
        fn it_turns_around_and_moves_with_the_pairs(
            pairs in prop::collection::vec(-1.0..1.0, 1..40), by in -1.0..1.0
        ) {
            let effect = Effect::of(&ratios(&pairs)).unwrap();
            let turned: Vec<f64> = pairs.iter().map(|pair| -pair).collect();
            let turned = Effect::of(&ratios(&turned)).unwrap();
            prop_assert!(is_near(turned.median, -effect.median));
            let moved: Vec<f64> = pairs.iter().map(|pair| pair + by).collect();
            let moved = Effect::of(&ratios(&moved)).unwrap();
            prop_assert!(is_near(moved.median, effect.median + by));
            if let Some(Interval { low, high }) = effect.interval {
                prop_assert!(low <= effect.median && effect.median <= high);
                let turned = turned.interval.unwrap();
                prop_assert!(is_near(turned.low, -high) && is_near(turned.high, -low));
            }
        }
    }
}
