//! What the daemon shows of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::Mode;

/// The word for counters that are believed.
pub(super) const COUNTED: &str = "ok";

/// What is under way, and with whom.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// What is under way.
    pub mode: Mode,
    /// Why, in a few words.
    pub reason: String,
    /// One word for the counters: `ok`, `absent`, `denied`, `starved`, `implausible` or `unchecked`.
    pub pmu: String,
    /// What the placement that was adopted gains, in parts; nothing where none was.
    pub gain: Option<f64>,
    /// Since when it is so: CLOCK_REALTIME in microseconds.
    pub since_us: u64,
    /// The groups, the busiest first.
    pub groups: Vec<GroupStatus>,
}

/// A group.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GroupStatus {
    /// What is learnt of it is kept under this.
    pub job: String,
    /// Which it is: its cgroup or process group.
    pub group: String,
    /// How many CPUs it keeps busy.
    pub busy: f64,
    /// The same, rounded.
    pub workers: u32,
    /// Why it is not placed; nothing where it may be.
    pub left_alone: Option<String>,
    /// How fast it was when it was counted last, in instructions per cycle or per nanosecond.
    pub speed: Option<f64>,
    /// Why that is not known.
    pub unavailable: Option<String>,
    /// Its instructions per cycle alone on its cores, where that is known.
    pub solo: Option<f64>,
    /// Which part of that it was seen to lose beside others that run.
    pub slowdown: BTreeMap<String, f64>,
    /// The CPUs that it was given.
    pub cpus: Option<String>,
}

impl Status {
    /// The mode as one word.
    #[must_use]
    pub fn mode_word(&self) -> &'static str {
        word(self.mode)
    }
}

/// A mode as one word, as on D-Bus.
pub(super) fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Unavailable => "unavailable",
        Mode::Observe => "observe",
        Mode::Idle => "idle",
        Mode::Trial => "trial",
        Mode::Active => "active",
        Mode::Paused => "paused",
        Mode::Yielded => "yielded",
    }
}
