//! What is configured, in /etc/auto-ext/smt.yaml: its keys, their limits and what is so without them. What is wrong is said with
//! its line and column.

mod schema;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_service::sanitize::sanitize;
use glob::Pattern;
use serde::Deserialize;

use crate::core::Act;
use crate::counters::Metric;
use crate::groups::GroupBy;

pub use schema::json_schema;
use values::{Globs, Hold, LongRunning, Percent, Schedulers, Version, Weights};

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

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Something is wrong with what it says.
    #[error("{}:{line}:{column}: error: {message}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "keys such as `version: 1`")]
struct Written {
    #[expect(dead_code, reason = "that it is there and right is all")]
    version: Version,
    act: Option<WrittenAct>,
    group_by: Option<WrittenGroupBy>,
    long_running: Option<LongRunning>,
    exclude: Option<Globs>,
    protect: Option<Globs>,
    weights: Option<Weights>,
    margin: Option<Percent>,
    hold: Option<Hold>,
    with_sched_ext: Option<Schedulers>,
    metric: Option<WrittenMetric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenAct {
    Observe,
    Trial,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenGroupBy {
    Cgroup,
    ProcessGroup,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenMetric {
    Ipc,
    Rate,
}

impl Config {
    /// What a file says; what is so without one, where there is none.
    ///
    /// # Errors
    /// When it cannot be read or something is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |error| ConfigError::File {
            path: path.to_owned(),
            error,
        };
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => drop(
                file.take(MAX_SIZE + 1)
                    .read_to_string(&mut text)
                    .map_err(failed)?,
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        }
        if text.len() as u64 > MAX_SIZE {
            let why = format!("larger than {MAX_SIZE} bytes");
            return Err(failed(io::Error::other(why)));
        }
        Self::parse(path, &text)
    }

    /// What a text says that is called `path` in messages.
    ///
    /// # Errors
    /// When something is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let written: Written =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                let at = error.location().map(|at| (at.line(), at.column()));
                let (line, column) = at.unwrap_or((1, 1));
                ConfigError::Wrong {
                    path: path.to_owned(),
                    line,
                    column,
                    message: message(&error),
                }
            })?;
        Ok(written.into_config())
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

impl Written {
    fn into_config(self) -> Config {
        let default = Config::default();
        Config {
            act: match self.act {
                None | Some(WrittenAct::Observe) => Act::Observe,
                Some(WrittenAct::Trial) => Act::Trial,
            },
            group_by: match self.group_by {
                None | Some(WrittenGroupBy::Cgroup) => GroupBy::Cgroup,
                Some(WrittenGroupBy::ProcessGroup) => GroupBy::ProcessGroup,
            },
            long_running: self
                .long_running
                .map_or(default.long_running, |LongRunning(time)| time),
            exclude: self.exclude.map(|Globs(globs)| globs).unwrap_or_default(),
            protect: self.protect.map(|Globs(globs)| globs).unwrap_or_default(),
            weights: self
                .weights
                .map(|Weights(weights)| weights)
                .unwrap_or_default(),
            margin: self.margin.map_or(default.margin, |Percent(part)| part),
            hold: self.hold.map_or(default.hold, |Hold(time)| time),
            with_sched_ext: self
                .with_sched_ext
                .map(|Schedulers(names)| names)
                .unwrap_or_default(),
            metric: match self.metric {
                None | Some(WrittenMetric::Ipc) => Metric::Ipc,
                Some(WrittenMetric::Rate) => Metric::Rate,
            },
        }
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

/// What is wrong, without the place, which stands before it.
fn message(error: &serde_saphyr::Error) -> String {
    let text = sanitize(&error.without_snippet().to_string());
    match error.location() {
        Some(at) => {
            let place = format!("line {} column {}: ", at.line(), at.column());
            text.replace(&place, "")
        }
        None => text,
    }
}
