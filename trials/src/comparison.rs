//! What a comparison found that somebody asked for: judged here once more, by its pairs, and kept with what trials found.

use std::time::Duration;

use auto_ext_evidence::{Effect, Evidence, LogRatio, MAX_PAIRS, Verdict};
use serde::{Deserialize, Serialize};

use crate::compared::{Compared, JudgedBy};

/// More challengers than these are not compared at once.
const MAX_CHALLENGERS: usize = 64;
/// What a comparison of one scheduler with the kernel's own measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The scheduler, as the policy names it.
    pub scheduler: String,
    /// By what was judged.
    pub by: JudgedBy,
    /// The logarithms of the ratios of the pairs, in their order; above 0 the scheduler was better.
    pub ratios: Vec<f64>,
    /// How many challengers were compared with each other.
    pub challengers: usize,
    /// Whether so many tasks slept and were woken that waits say something.
    pub with_sleepers: bool,
    /// For how long was compared, in seconds, until now.
    pub took_s: u64,
}

/// Why a comparison is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The policy has no such class.
    #[error("the policy has no class `{0}`")]
    NoClass(String),
    /// What the class uses is never overruled by what was found.
    #[error("nothing is tried for class `{0}`: what its rule asks for stands, or it has no goal")]
    NothingTried(String),
    /// The rule does not name the scheduler.
    #[error(
        "the rule of class `{class}` has `{scheduler}` neither in `use` nor in `try`, so that nothing would come of it"
    )]
    NotNamed {
        /// The class.
        class: String,
        /// The scheduler.
        scheduler: String,
    },
    /// The class is judged by something else.
    #[error("class `{class}` is not judged by {by}")]
    OtherGoal {
        /// The class.
        class: String,
        /// By what was judged.
        by: &'static str,
    },
    /// It makes no sense.
    #[error("the comparison makes no sense: {0}")]
    Unsound(&'static str),
    /// It is not decided.
    #[error("`{0}` is not decided, and so there is nothing to keep")]
    Open(String),
}

impl Comparison {
    /// What it found; `at` is now, since 1970.
    ///
    /// # Errors
    /// When it is not decided.
    pub fn judge(&self, at: Duration) -> Result<(Verdict, Compared), NotKept> {
        self.check()?;
        let ratios: Vec<LogRatio> = self.ratios().collect();
        let mut evidence = Evidence::new(self.by.design(self.challengers));
        ratios.iter().for_each(|ratio| evidence.add(*ratio));
        let open = || NotKept::Open(self.scheduler.clone());
        let effect = Effect::of(&ratios).ok_or_else(open)?;
        let verdict = evidence.verdict();
        if verdict == Verdict::Open {
            return Err(open());
        }
        let compared = Compared {
            by: self.by,
            effect: effect.median,
            pairs: u32::try_from(ratios.len()).unwrap_or(u32::MAX),
            e_better: evidence.e_better(),
            e_worse: evidence.e_worse(),
            at,
        };
        Ok((verdict, compared))
    }

    fn ratios(&self) -> impl Iterator<Item = LogRatio> {
        let ratios = self.ratios.iter().copied();
        ratios.filter_map(LogRatio::of_logarithm)
    }

    /// Whoever sent it may have made it up.
    pub(crate) fn check(&self) -> Result<(), NotKept> {
        let wrong = if self.ratios.len() > MAX_PAIRS {
            "it has more pairs than any"
        } else if self.ratios().count() != self.ratios.len() {
            "a ratio is no number"
        } else if !(1..=MAX_CHALLENGERS).contains(&self.challengers) {
            "so many challengers are never compared"
        } else {
            return Ok(());
        };
        Err(NotKept::Unsound(wrong))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn comparison() -> Comparison {
        Comparison {
            scheduler: "bpfland".into(),
            by: JudgedBy::Time,
            ratios: vec![0.3; 8],
            challengers: 1,
            with_sleepers: true,
            took_s: 60,
        }
    }

    #[test]
    fn it_is_judged_by_its_pairs_and_not_by_what_it_says() {
        let at = Duration::from_secs(7);
        let with = |ratios| Comparison {
            ratios,
            ..comparison()
        };
        let (verdict, compared) = comparison().judge(at).unwrap();
        assert_eq!((verdict, compared.pairs), (Verdict::Better, 8));
        assert!((compared.effect - 0.3).abs() < 1e-9 && compared.e_better >= 20.0);
        let (verdict, _) = with(vec![-0.3; 8]).judge(at).unwrap();
        assert_eq!(verdict, Verdict::Worse);
        let (verdict, _) = with(vec![0.0; MAX_PAIRS]).judge(at).unwrap();
        assert_eq!(verdict, Verdict::NoDifference);
        for open in [vec![], vec![0.3], vec![0.0; 8]] {
            assert!(matches!(with(open).judge(at), Err(NotKept::Open(_))));
        }
    }
}
