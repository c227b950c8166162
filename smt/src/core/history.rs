//! What came of a trial, for people.

use serde::{Deserialize, Serialize};

/// One trial, or the end of a placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in seconds since the boot.
    pub at: u64,
    /// What was placed.
    pub jobs: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Outcome {
    /// A candidate is better, and stays.
    Adopted {
        /// By which part.
        gain: f64,
        /// It is more than this with a probability of 95 %.
        lower: f64,
    },
    /// No candidate is better.
    Fruitless {
        /// The most that any gained.
        best: Option<f64>,
    },
    /// It was given up.
    Aborted {
        /// Why.
        why: String,
    },
    /// A placement that was adopted was taken back.
    Restored {
        /// Why.
        why: String,
    },
}
