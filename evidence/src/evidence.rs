//! Evidence that a challenger is better, or worse: two e-values, that grow with each pair that speaks for it.
//!
//! An e-value is what one would own who began with 1 and bet on each pair, at fair odds if there was nothing to find. Whatever
//! the noise, it reaches x in at most one of x comparisons of equals, however often one looks (Ville's inequality): so a
//! comparison may end as soon as it suffices. See Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
//! betting" (2024), and for turns in the order of a coin arXiv 2210.08639. A bet needs a bounded number, so ratios are
//! divided by a scale and cut off at 1; the scale is of the pairs before alone, or the bet would not be fair. Which scale and which
//! shares are bet has no part in that: they make differences be found sooner or later, and were chosen by comparisons of other seeds
//! than those that are reported on.

use crate::median::median;
use crate::ratio::LogRatio;

/// Without a decision after so many pairs there is no difference worth having.
pub const MAX_PAIRS: usize = 30;
/// Nothing is called better before so many pairs.
pub const MIN_PAIRS: usize = 6;

/// The shares of the stake that are bet on that it is better, each with the part of the capital that it is bet with. Larger ones reach
/// the end sooner by chance, too; smaller ones do not reach it in [`MAX_PAIRS`].
const BETTER_BETS: [(f64, f64); 2] = [(0.5, 0.3), (0.75, 0.7)];
/// The same for that it is worse: what harms people is to be out soon, and who is called worse by chance harms nobody.
const WORSE_BETS: [(f64, f64); 1] = [(0.85, 1.0)];
/// The scale while too little is known of the noise, and for how many pairs.
const FIRST_SCALE: f64 = 0.15;
const FIRST_PAIRS: usize = 5;
/// At which e-value one of a single challenger is better, and at which one is worse. Together they call fewer than 2 of 100
/// equals one or the other, also where nothing but the coin is on their side: `simulation.rs`.
const BETTER_AT: f64 = 20.0;
const WORSE_AT: f64 = 47.0;
/// How many times the standard deviation the scale is afterwards. The best bet on a difference is proportional to it and to 1 over the
/// variance: where the two differ by about as much as pairs by themselves, three quarters of the stake at this scale.
const DEVIATIONS: f64 = 1.25;
/// The least scale afterwards.
const LEAST_SCALE: f64 = 0.05;
/// From the median absolute deviation to the standard deviation of what is normally distributed.
const SIGMA_PER_MAD: f64 = 1.48;

/// What makes a difference one that counts. Unless [`Design::any_worse`] says otherwise, a challenger that is worse harms nobody but by the
/// time that its turns take, so that worse means what better means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Design {
    margin: f64,
    worse_margin: f64,
    better_at: f64,
    worse_at: f64,
    least_scale: f64,
}

/// What is known of a challenger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough yet.
    Open,
    /// It is better by more than the margin.
    Better,
    /// It is worse by more than the margin.
    Worse,
    /// No difference worth having was found.
    NoDifference,
}

/// The evidence about one challenger.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    design: Design,
    ratios: Vec<LogRatio>,
    better: Capital,
    worse: Capital,
    verdict: Verdict,
}

/// The shares that are bet, and what each has made of its part.
#[derive(Clone, Debug, PartialEq)]
struct Capital(Vec<(f64, f64)>);

impl Design {
    /// Where a difference of more than `margin` counts, such as 0.03 for 3 %, and any of so many challengers may be called better
    /// by chance.
    #[must_use]
    pub fn new(margin: f64, challengers: usize) -> Self {
        // No more challengers than fit into 32 bits are ever compared.
        let challengers = f64::from(u32::try_from(challengers.max(1)).unwrap_or(u32::MAX));
        let margin = margin.ln_1p();
        Self {
            margin,
            worse_margin: margin,
            better_at: BETTER_AT * challengers,
            worse_at: WORSE_AT,
            least_scale: LEAST_SCALE,
        }
    }

    /// Where people bear what is worse: any difference counts, from this e-value on.
    #[must_use]
    pub fn any_worse(self, worse_at: f64) -> Self {
        Self {
            worse_margin: 0.0,
            worse_at,
            ..self
        }
    }

    /// The same where pairs differ by as much as this, as a logarithm, by themselves: no bet relies on less.
    #[must_use]
    pub fn with_least_scale(self, least_scale: f64) -> Self {
        Self {
            least_scale,
            ..self
        }
    }

    /// At which e-value a challenger is better.
    #[must_use]
    pub fn better_at(&self) -> f64 {
        self.better_at
    }

    /// At which e-value a challenger is worse.
    #[must_use]
    pub fn worse_at(&self) -> f64 {
        self.worse_at
    }

    /// By what the ratio after these is divided.
    fn scale(&self, before: &[LogRatio]) -> f64 {
        if before.len() < FIRST_PAIRS {
            return FIRST_SCALE.max(self.least_scale);
        }
        let sigma = sigma(before).unwrap_or_default();
        self.least_scale.max(DEVIATIONS * sigma)
    }
}

impl Evidence {
    /// None yet.
    #[must_use]
    pub fn new(design: Design) -> Self {
        Self {
            design,
            ratios: Vec::new(),
            better: Capital(BETTER_BETS.to_vec()),
            worse: Capital(WORSE_BETS.to_vec()),
            verdict: Verdict::Open,
        }
    }

    /// Adds what the next pair says. What was decided before stays so.
    pub fn add(&mut self, ratio: LogRatio) {
        let scale = self.design.scale(&self.ratios);
        let bounded = |ratio: f64| (ratio / scale).clamp(-1.0, 1.0);
        self.better.bet(bounded(ratio.get() - self.design.margin));
        self.worse
            .bet(bounded(-ratio.get() - self.design.worse_margin));
        self.ratios.push(ratio);
        if self.verdict == Verdict::Open {
            self.verdict = self.judge();
        }
    }

    fn judge(&self) -> Verdict {
        let pairs = self.ratios.len();
        if self.e_better() >= self.design.better_at && pairs >= MIN_PAIRS {
            Verdict::Better
        } else if self.e_worse() >= self.design.worse_at {
            Verdict::Worse
        } else if pairs >= MAX_PAIRS {
            Verdict::NoDifference
        } else {
            Verdict::Open
        }
    }

    /// What is known by now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The pairs, in their order.
    #[must_use]
    pub fn ratios(&self) -> &[LogRatio] {
        &self.ratios
    }

    /// The e-value for that it is better by more than the margin.
    #[must_use]
    pub fn e_better(&self) -> f64 {
        self.better.total()
    }

    /// The e-value for that it is worse by more than the margin.
    #[must_use]
    pub fn e_worse(&self) -> f64 {
        self.worse.total()
    }

    /// The standard deviation of pairs, told by their median absolute deviation; `None` of fewer than two.
    #[must_use]
    pub fn sigma(&self) -> Option<f64> {
        let is_known = self.ratios.len() >= 2;
        is_known.then(|| sigma(&self.ratios)).flatten()
    }
}

impl Capital {
    /// Bets on `x`, which is at least -1 and at most 1. No bet loses all.
    fn bet(&mut self, x: f64) {
        for (share, capital) in &mut self.0 {
            *capital *= 1.0 + *share * x;
        }
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|(_, capital)| capital).sum()
    }
}

fn sigma(ratios: &[LogRatio]) -> Option<f64> {
    let ratios = || ratios.iter().map(|ratio| ratio.get());
    let middle = median(ratios())?;
    let deviation = median(ratios().map(|ratio| (ratio - middle).abs()))?;
    Some(SIGMA_PER_MAD * deviation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ratio::Better;

    fn ratio(logarithm: f64) -> LogRatio {
        LogRatio::of(logarithm.exp(), 1.0, Better::Higher).unwrap()
    }

    fn of(ratios: &[f64], challengers: usize) -> Evidence {
        let mut evidence = Evidence::new(Design::new(0.03, challengers));
        for logarithm in ratios {
            evidence.add(ratio(*logarithm));
        }
        evidence
    }

    #[test]
    fn without_pairs_nothing_is_known() {
        let none = of(&[], 1);
        assert_eq!(none.verdict(), Verdict::Open);
        assert!((none.e_better() - 1.0).abs() < 1e-12 && (none.e_worse() - 1.0).abs() < 1e-12);
        assert_eq!(none.sigma(), None);
    }

    #[test]
    fn what_is_always_far_better_is_called_so_after_the_least_number_of_pairs() {
        let pairs: Vec<f64> = vec![0.5; MIN_PAIRS];
        assert_eq!(of(&pairs[1..], 1).verdict(), Verdict::Open);
        assert_eq!(of(&pairs, 1).verdict(), Verdict::Better);
        // Among many it takes more.
        assert_eq!(of(&pairs, 4).verdict(), Verdict::Open);
        let opposite = [-0.5; MIN_PAIRS + 1];
        assert_eq!(of(&opposite, 4).verdict(), Verdict::Worse);
    }

    #[test]
    fn differences_within_the_margin_are_none_worth_having() {
        let pairs = [0.02, 0.01].repeat(MAX_PAIRS / 2);
        assert_eq!(of(&pairs[1..], 1).verdict(), Verdict::Open);
        assert_eq!(of(&pairs, 1).verdict(), Verdict::NoDifference);
    }

    #[test]
    fn the_scale_is_of_the_pairs_before() {
        let calm = [0.0, 0.001, 0.002, 0.001, 0.0];
        let wild = [0.0, 0.3, -0.3, 0.3, -0.3];
        for (before, expected) in [
            (calm, LEAST_SCALE),
            (wild, DEVIATIONS * SIGMA_PER_MAD * 0.3),
        ] {
            let before = before.map(ratio);
            let design = Design::new(0.03, 1);
            assert!((design.scale(&before) - expected).abs() < 1e-12);
            assert!((design.scale(&before[..FIRST_PAIRS - 1]) - FIRST_SCALE).abs() < 1e-12);
            let wide = design.with_least_scale(0.2);
            assert!((wide.scale(&before) - expected.max(0.2)).abs() < 1e-12);
            assert!((wide.scale(&before[..FIRST_PAIRS - 1]) - 0.2).abs() < 1e-12);
        }
    }

    #[test]
    fn where_any_difference_is_worse_what_is_within_the_margin_is_so() {
        let mut evidence = Evidence::new(Design::new(0.03, 1).any_worse(10.0));
        for _ in 0..MAX_PAIRS {
            evidence.add(ratio(-0.025));
        }
        assert_eq!(evidence.verdict(), Verdict::Worse);
    }

    proptest! {
        /// A fair bet: over both signs of each pair the mean stays 1, whatever the sizes.
        #[test]
        fn by_the_coin_alone_nobody_gains(sizes in prop::collection::vec(0.0..0.5f64, 1..10)) {
            let mut evidence = Evidence::new(Design::new(0.0, 1));
            let (mut better, mut worse) = (0.0, 0.0);
            for signs in 0..1u32 << sizes.len() {
                evidence.clone_from(&Evidence::new(evidence.design));
                for (at, size) in sizes.iter().enumerate() {
                    let sign = if signs >> at & 1 == 1 { 1.0 } else { -1.0 };
                    evidence.add(ratio(sign * size));
                }
                better += evidence.e_better() / f64::from(1u32 << sizes.len());
                worse += evidence.e_worse() / f64::from(1u32 << sizes.len());
            }
            prop_assert!((better - 1.0).abs() < 1e-9, "{better}");
            prop_assert!((worse - 1.0).abs() < 1e-9, "{worse}");
        }

        #[test]
        fn no_pairs_break_it_and_a_verdict_stays(ratios in prop::collection::vec(-700.0..700.0f64, 0..80)) {
            let mut evidence = Evidence::new(Design::new(0.03, 1));
            for logarithm in ratios {
                let before = evidence.verdict();
                evidence.add(ratio(logarithm));
                prop_assert!(before == Verdict::Open || evidence.verdict() == before);
                prop_assert!(evidence.e_better() > 0.0 && evidence.e_worse() > 0.0);
                prop_assert!(evidence.e_better().is_finite() && evidence.e_worse().is_finite());
            }
        }
    }
}
