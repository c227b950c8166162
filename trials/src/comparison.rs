//! What a comparison found that somebody asked for: judged here once more, by its pairs, and kept with what trials found.

use std::time::Duration;

use auto_ext_evidence::{Better, Design, Effect, Evidence, LogRatio, MAX_PAIRS, Verdict};
use auto_ext_policy::{Candidate, Goal, Policy, Rule, Scheduler};
use serde::{Deserialize, Serialize};

use crate::plan::{challengers, goals};
use crate::since_1970;
use crate::yardstick::{Metric, Yardstick};

/// More challengers than these are not compared at once.
const MAX_CHALLENGERS: usize = 64;
/// A difference that is worth having, as a share: of times and numbers, and of waits, which differ more by themselves.
const MARGIN: f64 = 0.03;
const MARGIN_OF_WAITS: f64 = 0.10;

/// By what a comparison judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgedBy {
    /// The time that a command took.
    Time,
    /// A number that it printed.
    Number,
    /// The energy that the processors took meanwhile.
    EnergyOfCommand,
    /// What trials judge by, under the load that ran.
    #[serde(untagged)]
    Metric(Metric),
}

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

/// What is kept of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// By what was judged.
    pub by: JudgedBy,
    /// How many times as good it was, as a logarithm.
    pub effect: f64,
    /// By so many pairs.
    pub pairs: u32,
    /// The e-value for that it is better.
    pub e_better: f64,
    /// The e-value for that it is worse.
    pub e_worse: f64,
    /// When it ended.
    #[serde(with = "since_1970")]
    pub at: Duration,
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

impl JudgedBy {
    /// What trials judge by, where it is that.
    #[must_use]
    pub fn metric(self) -> Option<Metric> {
        match self {
            Self::Metric(metric) => Some(metric),
            Self::Time | Self::Number | Self::EnergyOfCommand => None,
        }
    }

    /// Its name in what is shown to people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "the time of a command",
            Self::Number => "a number of a command",
            Self::EnergyOfCommand => "the energy of a command",
            Self::Metric(metric) => metric.name(),
        }
    }

    /// Whether less of it is better; of a number only the comparison knows, and what is kept is how many times as good it was.
    #[must_use]
    pub fn better(self) -> Better {
        match self {
            Self::Time | Self::EnergyOfCommand => Better::Lower,
            Self::Number => Better::Higher,
            Self::Metric(metric) => metric.better(),
        }
    }

    /// When one of so many challengers is better or worse.
    #[must_use]
    pub fn design(self, challengers: usize) -> Design {
        match self {
            Self::Metric(Metric::Wait) => {
                Design::new(MARGIN_OF_WAITS, challengers).with_least_scale(MARGIN_OF_WAITS)
            }
            Self::Metric(_) | Self::Time | Self::Number | Self::EnergyOfCommand => {
                Design::new(MARGIN, challengers)
            }
        }
    }

    /// What it is better at under `rule`; `None` where that is something else.
    fn goal(self, rule: &Rule, with_sleepers: bool) -> Option<Goal> {
        let goals = goals(rule);
        match self.metric() {
            // What a command is for is known best to who compares with it.
            None => Some(rule.goal(with_sleepers)).filter(|goal| *goal != Goal::None),
            Some(metric) => {
                let judges = |goal: &Goal| {
                    Yardstick::all(*goal).any(|yardstick| yardstick.primary == metric)
                };
                goals.into_iter().find(judges)
            }
        }
    }
}

impl Comparison {
    /// The goal and the scheduler that it is about under the rule of `class`.
    ///
    /// # Errors
    /// When the policy has no use for it there.
    pub fn about<'p>(
        &self,
        policy: &'p Policy,
        class: &str,
    ) -> Result<(Goal, &'p Scheduler), NotKept> {
        self.check()?;
        let class = class.to_owned();
        let Some(rule) = policy.rule(&class) else {
            return Err(NotKept::NoClass(class));
        };
        if goals(rule).is_empty() {
            return Err(NotKept::NothingTried(class));
        }
        let named = match policy.candidate(&self.scheduler) {
            Some(Candidate::Scheduler(scheduler)) => challengers(rule)
                .into_iter()
                .find(|challenger| challenger.is_same_as(&scheduler)),
            Some(Candidate::Kernel) | None => None,
        };
        let Some(scheduler) = named else {
            return Err(NotKept::NotNamed {
                class,
                scheduler: self.scheduler.clone(),
            });
        };
        let by = self.by.name();
        let goal = self.by.goal(rule, self.with_sleepers);
        let goal = goal.ok_or(NotKept::OtherGoal { class, by })?;
        Ok((goal, scheduler))
    }

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
    fn check(&self) -> Result<(), NotKept> {
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

impl Compared {
    /// What somebody kept, if it can be.
    pub(crate) fn is_sound(&self) -> bool {
        let numbers = [self.effect, self.e_better, self.e_worse];
        numbers.into_iter().all(f64::is_finite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        Comparison {
            scheduler: "bpfland".into(),
            by: JudgedBy::Time,
            ratios: vec![0.3; 8],
            challengers: 1,
            with_sleepers: true,
            took_s: 60,
        }
    }

    fn policy() -> Policy {
        let text = "version: 1\nrules:\n\
            - {class: latent, when: {interactive: high}, use: [bpfland, kernel], try: [flash]}\n\
            - {class: online, when: {net: high}, use: [kernel], try: [bpfland]}\n\
            - {class: game, when: {process: [game]}, use: [bpfland]}\n";
        Policy::parse("F", text).unwrap()
    }

    #[test]
    fn a_class_takes_what_its_rule_can_use() {
        let policy = policy();
        let about = |class: &str, comparison: &Comparison| {
            let (goal, scheduler) = comparison.about(&policy, class)?;
            Ok::<_, NotKept>((goal, scheduler.name.clone()))
        };
        let of = |by| Comparison { by, ..comparison() };
        assert_eq!(
            about("latent", &of(JudgedBy::Time)),
            Ok((Goal::Latency, "bpfland".into()))
        );
        let waits = JudgedBy::Metric(Metric::Wait);
        assert_eq!(about("latent", &of(waits)).unwrap().0, Goal::Latency);
        let done = JudgedBy::Metric(Metric::Completions);
        assert_eq!(about("online", &of(done)).unwrap().0, Goal::Requests);
        for (class, comparison, says) in [
            ("nowhere", of(JudgedBy::Time), "no class `nowhere`"),
            ("game", of(JudgedBy::Time), "nothing is tried"),
            ("latent", of(done), "not judged by completions"),
            (
                "online",
                Comparison {
                    scheduler: "flash".into(),
                    ..comparison()
                },
                "neither in `use`",
            ),
            (
                "latent",
                Comparison {
                    ratios: vec![f64::NAN],
                    ..comparison()
                },
                "no number",
            ),
            (
                "latent",
                Comparison {
                    ratios: vec![0.0; MAX_PAIRS + 1],
                    ..comparison()
                },
                "more pairs",
            ),
        ] {
            let error = about(class, &comparison).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
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

    #[test]
    fn by_what_was_judged_is_one_word() {
        for (by, word) in [
            (JudgedBy::Time, "\"time\""),
            (JudgedBy::EnergyOfCommand, "\"energy-of-command\""),
            (JudgedBy::Metric(Metric::WaitTail), "\"wait-tail\""),
        ] {
            assert_eq!(serde_json::to_string(&by).unwrap(), word);
            assert_eq!(serde_json::from_str::<JudgedBy>(word).unwrap(), by);
        }
    }
}
