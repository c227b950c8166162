//! What is configured, in /etc/auto-ext/smt.yaml: its keys, their limits and what is so without them. What is wrong is said with
//! its line and column.

mod parse;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::time::Duration;

pub use auto_ext_service::config_file::error::ConfigError;
use auto_ext_service::config_file::utf8::utf8;
use glob::Pattern;

use crate::core::Act;
use crate::counters::Metric;
use crate::groups::GroupBy;

pub use schema::json_schema;

/// Where it is.
pub const FILE: &str = "/etc/auto-ext/smt.yaml";
/// How large it may be, in bytes.
const MAX_SIZE: u64 = 64 << 10;
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
    /// What a file says; what is so without one, where there is none.
    ///
    /// # Errors
    /// When it cannot be read or something is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError::with_file(path, why);
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => {
                let read = file.take(MAX_SIZE + 1).read_to_end(&mut bytes);
                read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        }
        if bytes.len() as u64 > MAX_SIZE {
            return Err(wrong(format!("it is larger than {MAX_SIZE} bytes")));
        }
        let text = utf8(bytes).map_err(|problem| wrong(problem.message))?;
        Self::parse(path, &text)
    }

    /// What a text says that is called `path` in messages.
    ///
    /// # Errors
    /// When something is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        parse::parse(path, text)
    }

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
