//! The lines, and their limits. Numbers of the kernel's side are in Q16.16, as it has them.

use serde::{Deserialize, Serialize};

use crate::burst::FEATURES;
use crate::moves::{INPUTS, reward_ms};
use crate::origin::Origin;

/// The version of the format. Others are not read.
pub const VERSION: u32 = 1;
/// The longest line, in bytes.
pub const MAX_LINE: usize = 4096;
/// How many samples a file may have.
pub const MAX_SAMPLES: u64 = 2_000_000;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub samples: u32,
    /// [`crate::origin::FEATURES`].
    pub features: u32,
    /// Where they come from.
    #[serde(flatten)]
    pub origin: Origin,
    /// In which share of decisions chance decided.
    pub explore: f64,
}

/// Any other line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sample {
    /// A burst that is over.
    Burst(BurstSample),
    /// A decision about a move, and what came of it.
    Move(MoveSample),
}

/// A burst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstSample {
    /// When it was over: CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Whose: the thread's number.
    pub pid: u32,
    /// The thread's name.
    pub comm: String,
    /// The features of its wakeup.
    pub x: [i32; FEATURES],
    /// The logarithm of its length.
    pub y: i32,
    /// The average of the logarithms of those before.
    pub ewma: i32,
}

/// A move that was considered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveSample {
    /// When: CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Whose.
    pub pid: u32,
    /// What was known.
    pub x: [i32; INPUTS],
    /// Whether it was moved.
    pub moved: bool,
    /// How likely that was.
    pub propensity: f64,
    /// How long it waited from then until it ran.
    pub waited_ns: u64,
    /// How long the burst was.
    pub ran_ns: u64,
    /// How long it was predicted to be.
    pub predicted_ns: u64,
}

impl MoveSample {
    /// What came of it, in milliseconds, 0 at best.
    #[must_use]
    pub fn reward_ms(&self) -> f64 {
        reward_ms(self.waited_ns, self.ran_ns, self.predicted_ns)
    }
}

impl BurstSample {
    /// The logarithm of the burst before, as far as features go.
    #[must_use]
    pub fn last(&self) -> i32 {
        self.ewma.saturating_add(self.x[1])
    }

    /// What lines are fitted to.
    #[must_use]
    pub fn deviation(&self) -> i32 {
        self.y.saturating_sub(self.ewma)
    }
}

impl Header {
    /// As a line.
    #[must_use]
    pub fn to_line(&self) -> String {
        line(self)
    }
}

impl Sample {
    /// As a line.
    #[must_use]
    pub fn to_line(&self) -> String {
        line(self)
    }

    /// When it was.
    #[must_use]
    pub fn at_ns(&self) -> u64 {
        match self {
            Self::Burst(burst) => burst.at_ns,
            Self::Move(considered) => considered.at_ns,
        }
    }
}

fn line(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value);
    text.expect("numbers and texts under names that are texts") + "\n"
}
