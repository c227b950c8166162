//! What is kept of a comparison, and by what it judged.

use std::time::Duration;

use auto_ext_evidence::{Better, Design};
use serde::{Deserialize, Serialize};

use crate::since_1970;
use crate::yardstick::Metric;

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

    /// A difference that is worth having, as a share.
    #[must_use]
    pub fn margin(self) -> f64 {
        match self {
            Self::Metric(Metric::Wait) => MARGIN_OF_WAITS,
            Self::Metric(_) | Self::Time | Self::Number | Self::EnergyOfCommand => MARGIN,
        }
    }

    /// When one of so many challengers is better or worse.
    #[must_use]
    pub fn design(self, challengers: usize) -> Design {
        let design = Design::new(self.margin(), challengers);
        match self {
            Self::Metric(Metric::Wait) => design.with_least_scale(MARGIN_OF_WAITS),
            Self::Metric(_) | Self::Time | Self::Number | Self::EnergyOfCommand => design,
        }
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
