//! What is compared: for each goal one number to be better in by a margin, and others in which nothing may be lost.

use auto_ext_evidence::{Better, Design, LogRatio};
use auto_ext_policy::Goal;
use serde::{Deserialize, Serialize};

use crate::outcome::Measured;

/// Raised whenever a number comes to mean something else: what was learned with another version counts for nothing.
pub const METRIC_VERSION: u32 = 1;

/// From how many wake-ups a second on waits say something.
const SLEEPERS: f64 = 20.0;
/// At which e-value a challenger is worse, and at which one that was proven is so no more. In one of eight comparisons of equals at most
/// one is called worse: it is not tried any more, and nobody is the worse for that.
const WORSE_AT: f64 = 8.0;
const DEMOTED_AT: f64 = 20.0;
/// By what ratios of waits are divided at least.
const LEAST_SCALE_OF_WAITS: f64 = 0.10;

/// One of the numbers that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The mean of waits.
    Wait,
    /// What 95 % of the waits do not exceed.
    WaitTail,
    /// What 99 % of the canary's waits do not exceed.
    CanaryTail,
    /// Wake-ups of tasks that sleep.
    Demand,
    /// What was completed.
    Completions,
    /// CPU time of programs.
    User,
    /// Instructions of programs.
    Instructions,
    /// Energy for each instruction, or else each completion.
    Energy,
}

/// What a challenger has to be better in, and by how much; and in what it must not be worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Yardstick {
    /// What is better.
    pub goal: Goal,
    /// In what it has to be better.
    pub primary: Metric,
    /// By how much, such as 0.1 for 10 %.
    pub delta: f64,
    /// In what it must not be worse, each with the logarithm of how many times as bad it may be at most.
    pub guards: Vec<(Metric, f64)>,
}

impl Metric {
    /// The name in what is shown to people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "waits",
            Self::WaitTail => "long waits",
            Self::CanaryTail => "waits of the canary",
            Self::Demand => "wake-ups",
            Self::Completions => "completions",
            Self::User => "CPU time of programs",
            Self::Instructions => "instructions",
            Self::Energy => "energy",
        }
    }

    /// Its value; `None` when it was not measured.
    #[must_use]
    pub fn of(self, measured: &Measured) -> Option<f64> {
        match self {
            Self::Wait => measured.wait_ns,
            Self::WaitTail => measured.wait_p95_ns,
            Self::CanaryTail => measured.canary_p99_ns,
            Self::Demand => Some(measured.demand),
            Self::Completions => measured.completions,
            Self::User => measured.user,
            Self::Instructions => measured.instructions,
            Self::Energy => {
                let done = measured.instructions.or(measured.completions)?;
                Some(measured.watts? / done)
            }
        }
    }

    /// Whether less of it is better.
    #[must_use]
    pub fn better(self) -> Better {
        match self {
            Self::Wait | Self::WaitTail | Self::CanaryTail | Self::Energy => Better::Lower,
            Self::Demand | Self::Completions | Self::User | Self::Instructions => Better::Higher,
        }
    }

    /// How many times as good the candidate was; `None` when one of them has no number above 0.
    #[must_use]
    pub fn ratio(self, candidate: &Measured, incumbent: &Measured) -> Option<LogRatio> {
        LogRatio::of(self.of(candidate)?, self.of(incumbent)?, self.better()).ok()
    }
}

/// Whether so many tasks sleep and are woken that their waits say something.
#[must_use]
pub(crate) fn with_sleepers(measured: &Measured) -> bool {
    measured.demand >= SLEEPERS
}

impl Yardstick {
    /// For `goal`, with what could be `measured` here; `None` where that does not suffice, or there is no goal.
    #[must_use]
    pub fn new(goal: Goal, measured: &Measured) -> Option<Self> {
        let (tail, canary) = (
            (Metric::WaitTail, 1.25f64.ln()),
            (Metric::CanaryTail, 2f64.ln()),
        );
        let less = |share: f64| -(1.0 - share).ln();
        let progress = if measured.instructions.is_some() {
            Metric::Instructions
        } else {
            Metric::User
        };
        let (primary, delta, guards) = match goal {
            Goal::Latency => {
                let guards = vec![(Metric::Demand, less(0.05)), (progress, less(0.03)), canary];
                (Metric::Wait, 0.10, guards)
            }
            Goal::Requests => (Metric::Completions, 0.03, vec![tail, canary]),
            Goal::Throughput => (Metric::Instructions, 0.03, vec![tail, canary]),
            Goal::Energy => {
                let done = match measured.instructions {
                    Some(_) => Metric::Instructions,
                    None => Metric::Completions,
                };
                (Metric::Energy, 0.03, vec![tail, (done, less(0.03))])
            }
            Goal::None => return None,
        };
        let is_there = |metric: Metric| metric.of(measured).is_some_and(|value| value > 0.0);
        is_there(primary).then(|| Self {
            goal,
            primary,
            delta,
            guards: guards
                .into_iter()
                .filter(|(metric, _)| is_there(*metric))
                .collect(),
        })
    }

    /// Those that there may be for `goal`, by what can be measured.
    pub(crate) fn all(goal: Goal) -> impl Iterator<Item = Self> {
        let measured = |instructions| Measured {
            demand: 1.0,
            wait_ns: Some(1.0),
            wait_p95_ns: Some(1.0),
            canary_p99_ns: Some(1.0),
            completions: Some(1.0),
            user: Some(1.0),
            watts: Some(1.0),
            instructions,
            ..Measured::default()
        };
        let with = [Some(1.0), None].into_iter();
        with.filter_map(move |instructions| Self::new(goal, &measured(instructions)))
    }

    /// When so many challengers of a class are better or worse.
    #[must_use]
    pub fn design(&self, challengers: usize) -> Design {
        let design = Design::new(self.delta, challengers).any_worse(WORSE_AT);
        match self.primary {
            Metric::Wait => design.with_least_scale(LEAST_SCALE_OF_WAITS),
            _ => design,
        }
    }

    /// When one that was proven to be better is so no more.
    #[must_use]
    pub fn design_of_proven(&self) -> Design {
        self.design(1).any_worse(DEMOTED_AT)
    }

    /// The ratio of a pair. Where the load came less often under the candidate, waits say what that says if it is the worse:
    /// who does less waits less.
    #[must_use]
    pub fn ratio(&self, candidate: &Measured, incumbent: &Measured) -> Option<LogRatio> {
        let ratio = self.primary.ratio(candidate, incumbent)?;
        let demand = self
            .guards
            .iter()
            .find(|(metric, _)| *metric == Metric::Demand);
        let Some((metric, margin)) = demand else {
            return Some(ratio);
        };
        let demand = metric.ratio(candidate, incumbent)?;
        let is_less = demand.get() < -margin;
        Some(if is_less && demand < ratio {
            demand
        } else {
            ratio
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured {
            demand: 100.0,
            wait_ns: Some(1000.0),
            wait_p95_ns: Some(5000.0),
            canary_p99_ns: Some(9000.0),
            user: Some(1.0),
            completions: Some(50.0),
            ..Measured::default()
        }
    }

    fn metrics(yardstick: &Yardstick) -> Vec<Metric> {
        yardstick.guards.iter().map(|(metric, _)| *metric).collect()
    }

    #[test]
    fn what_cannot_be_measured_is_no_yardstick() {
        let with = |goal| Yardstick::new(goal, &measured());
        assert_eq!(with(Goal::None), None);
        assert_eq!(with(Goal::Throughput), None, "without instructions");
        assert_eq!(with(Goal::Energy), None);
        let latency = with(Goal::Latency).unwrap();
        let expected = [Metric::Demand, Metric::User, Metric::CanaryTail];
        assert_eq!(
            (latency.primary, metrics(&latency)),
            (Metric::Wait, expected.into())
        );
        let idle = Measured {
            wait_ns: None,
            completions: Some(0.0),
            ..measured()
        };
        assert_eq!(Yardstick::new(Goal::Latency, &idle), None);
        assert_eq!(Yardstick::new(Goal::Requests, &idle), None);
        let counted = Measured {
            instructions: Some(1e9),
            watts: Some(10.0),
            ..measured()
        };
        let energy = Yardstick::new(Goal::Energy, &counted).unwrap();
        assert_eq!(metrics(&energy), [Metric::WaitTail, Metric::Instructions]);
        assert!(Yardstick::new(Goal::Throughput, &counted).is_some());
        let latency = Yardstick::new(Goal::Latency, &counted).unwrap();
        assert!(metrics(&latency).contains(&Metric::Instructions));
    }

    #[test]
    fn who_does_less_waits_less_and_is_not_better_for_it() {
        let yardstick = Yardstick::new(Goal::Latency, &measured()).unwrap();
        let candidate = Measured {
            wait_ns: Some(700.0),
            ..measured()
        };
        let better = yardstick.ratio(&candidate, &measured()).unwrap();
        assert!((better.get() - (1000.0f64 / 700.0).ln()).abs() < 1e-12);
        let lazy = Measured {
            demand: 90.0,
            ..candidate
        };
        let ratio = yardstick.ratio(&lazy, &measured()).unwrap();
        assert!((ratio.get() - 0.9f64.ln()).abs() < 1e-12);
    }
}
