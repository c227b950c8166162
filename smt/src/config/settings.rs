//! What is configured, and what is so where nothing is.

use std::collections::BTreeMap;
use std::time::Duration;

use glob::Pattern;

use crate::core::Act;
use crate::counters::Metric;
use crate::groups::GroupBy;

/// How much what is protected counts.
const PROTECTED: f64 = 4.0;

/// What is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whether anything is ever placed.
    pub act: Act,
    /// What belongs together.
    pub group_by: GroupBy,
    /// How long a group has to run before it counts.
    pub long_running: Duration,
    /// Jobs, programs and cgroups that are left alone.
    pub exclude: Vec<Pattern>,
    /// Jobs whose speed counts more than that of others.
    pub protect: Vec<Pattern>,
    /// How much the speed of jobs counts; that of others, 1.
    pub weights: BTreeMap<String, f64>,
    /// What has to be gained at least, in parts of the speed.
    pub margin: f64,
    /// How long what was adopted stays until it is tried anew.
    pub hold: Duration,
    /// The sched_ext schedulers beside which groups are placed, by the names that the kernel has for them.
    pub with_sched_ext: Vec<String>,
    /// What speed is.
    pub metric: Metric,
}

impl Default for Config {
    fn default() -> Self {
        let core = crate::core::Config::default();
        Self {
            act: core.act,
            group_by: GroupBy::Cgroup,
            long_running: Duration::from_secs(3600),
            exclude: Vec::new(),
            protect: Vec::new(),
            weights: BTreeMap::new(),
            margin: core.margin,
            hold: core.hold,
            with_sched_ext: Vec::new(),
            metric: Metric::Ipc,
        }
    }
}

impl Config {
    /// What of it the decisions depend on.
    #[must_use]
    pub fn core(&self) -> crate::core::Config {
        crate::core::Config {
            act: self.act,
            margin: self.margin,
            hold: self.hold,
        }
    }

    /// How much the speed of a job counts.
    #[must_use]
    pub fn weight(&self, job: &str) -> f64 {
        let names = names(job);
        let weight = names.iter().find_map(|name| self.weights.get(*name));
        let is_protected = |pattern: &Pattern| names.iter().any(|name| pattern.matches(name));
        let protected = self.protect.iter().any(is_protected);
        weight
            .copied()
            .unwrap_or(if protected { PROTECTED } else { 1.0 })
    }
}

/// What a job may be called by in the configuration: as it is, as a unit without its kind, as a program without its directory.
fn names(job: &str) -> Vec<&str> {
    let program = job.rsplit('/').next().unwrap_or(job);
    let unit = program
        .strip_suffix(".service")
        .or_else(|| program.strip_suffix(".scope"));
    [Some(job), Some(program), unit]
        .into_iter()
        .flatten()
        .collect()
}
