//! The policy: which scheduler runs for which load. Read from `policies.yaml`.
//!
//! Owns the file's format, its limits and its errors, and which rule applies when. Pure but for
//! the loading of a file: whether a scheduler is installed, which processes run, and what to do
//! when a file is invalid, is found out and decided elsewhere.
//!
//! The way of a file: `file` reads it, `yaml` makes a tree of it that knows every place, `schema`
//! with `schedulers`, `rules`, `when` and `metrics` gives keys and values their meaning, helped by `fields`.
//! All problems of the last step are reported at once; one of an earlier step stands alone, for
//! what follows from it is noise. `lookalike` finds what was pasted and looks like something else;
//! `json_schema` tells editors the same.

mod conditions;
mod error;
mod fields;
mod file;
mod json_schema;
mod lookalike;
mod metrics;
mod pattern;
mod rules;
mod schedulers;
mod schema;
mod suggest;
mod syntax;
mod when;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use auto_ext_profiler::{Process, Thresholds};

pub use self::conditions::{Circumstances, Conditions, Layer, Power, Profile};
use self::error::Problems;
pub use self::error::{Location, PolicyError, Problem, Warning};
pub use self::json_schema::json_schema;
pub use self::metrics::{Listen, Metrics};
pub use self::pattern::{Pattern, PatternError};
pub(crate) use self::schedulers::{MAX_ARG, MAX_ARGS};
pub(crate) use self::schema::{MAX_WINDOW, MIN_WINDOW};
use crate::known;

/// The candidate that means: no sched_ext scheduler, the kernel's own.
pub const KERNEL: &str = "kernel";

/// The class when no rule matches; no rule may take the name.
pub const NO_CLASS: &str = "none";

/// How much of a program and its arguments is shown in one line, in bytes.
pub const MAX_COMMAND_LINE: usize = 200;

/// A valid policy. The default is that of an empty file if there could be one: no rules, so that
/// the kernel's own scheduler always runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How often the signals are measured, 50 ms to 10 s.
    pub window: Duration,
    /// What to do about a scheduler that auto-ext did not start.
    pub foreign: Foreign,
    /// When each signal is HIGH and when LOW.
    pub signals: Thresholds,
    /// The schedulers the policy defines, by the policy's name for them.
    pub schedulers: BTreeMap<String, Scheduler>,
    /// The rules in the order of the file. Of those of the first layer that has a match, the first
    /// that matches wins; see [`Layer`].
    pub rules: Vec<Rule>,
    /// How reluctant to switch.
    pub stability: Stability,
    /// Where metrics can be read.
    pub metrics: Metrics,
}

/// A valid policy, and what is strange about the file it came from. Two files that differ only in
/// comments and layout have equal policies, though their warnings differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The policy.
    pub policy: Policy,
    /// In the order of the file: rules that never get their turn, schedulers that no rule uses,
    /// characters that look like others.
    pub warnings: Vec<Warning>,
    /// Where the values of `schedulers` and `metrics` stand, by their keys joined with dots, such as
    /// `metrics.textfile`.
    pub places: BTreeMap<String, Location>,
}

/// What to do about a sched_ext scheduler that auto-ext did not start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreign {
    /// Leave it alone, and the machine to it, until it is gone.
    #[default]
    Respect,
    /// Let what the policy wants take its place.
    Replace,
}

/// A scheduler and how to run it. The name is what people call it; which one it is, is told by its
/// program and arguments, see [`Self::is_same_as`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduler {
    /// The policy's name for it; the short name when a rule uses a known scheduler that the
    /// policy does not define.
    pub name: String,
    /// Its program: a file name that begins with `scx_`, to be searched for, or an absolute path.
    pub command: String,
    /// Its arguments, as written.
    pub args: Vec<String>,
}

/// One of the things a rule would like to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// The kernel's own scheduler, which is always available.
    Kernel,
    /// A sched_ext scheduler.
    Scheduler(Scheduler),
}

/// What to run under which load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name of the load; unique in a policy.
    pub class: String,
    /// When it applies.
    pub when: Conditions,
    /// What to run, best first; never empty. When none of them is available, the kernel's own.
    pub candidates: Vec<Candidate>,
}

/// How reluctant to switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stability {
    /// How long a scheduler stays before another takes its place, 0 to 1 h.
    pub min_run: Duration,
    /// How long a class stays when its rule does not apply any more and a later one does, 0 to 60 s.
    pub settle: Duration,
    /// How many switches there may be in an hour, 2 to 3600.
    pub max_switches_per_hour: u32,
}

impl Policy {
    /// Reads the policy at `path`: a regular file of at most 1 MiB. Never waits for a writer.
    ///
    /// # Errors
    /// When the file cannot be read or is not a valid policy; see [`Policy::parse`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        Checked::load(path).map(|checked| checked.policy)
    }

    /// Reads a policy from `text`; `path` only names it in errors.
    ///
    /// # Errors
    /// When `text` is not one YAML document without anchors, aliases and tags, or is not a valid
    /// policy. The error lists every problem with its line and column.
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, PolicyError> {
        Checked::parse(path, text).map(|checked| checked.policy)
    }

    /// The rule that applies: layer by layer (see [`Layer`]), the first in the order of the file
    /// whose conditions hold. `None` when there is none: then the class is [`NO_CLASS`] and the
    /// kernel's own scheduler runs.
    #[must_use]
    pub fn rule_for(&self, now: &Circumstances<'_>) -> Option<&Rule> {
        let applies = |layer, rule: &&Rule| rule.layer() == layer && rule.when.hold(now);
        Layer::ALL
            .into_iter()
            .find_map(|layer| self.rules.iter().find(|rule| applies(layer, rule)))
    }

    /// Whether some rule is about programs or cgroups such as this one's. Processes for which this
    /// is `false` make no difference to [`Self::rule_for`].
    #[must_use]
    pub fn wants(&self, process: &Process) -> bool {
        self.rules.iter().any(|rule| rule.when.want(process))
    }

    /// Whether some rule is about programs or cgroups.
    #[must_use]
    pub fn asks_about_processes(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.layer() == Layer::Application)
    }

    /// The rule that gives this class; `None` for [`NO_CLASS`], or when there is none.
    #[must_use]
    pub fn rule(&self, class: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.class == class)
    }

    /// Whether `one` wins over `other` when both apply.
    #[must_use]
    pub fn comes_first(&self, one: &Rule, other: &Rule) -> bool {
        let place = |rule: &Rule| {
            self.rules
                .iter()
                .position(|other| other.class == rule.class)
        };
        (one.layer(), place(other)) > (other.layer(), place(one))
    }

    /// What `name` stands for: `kernel`, a scheduler of the policy, or a known one, by its short or
    /// its full name.
    #[must_use]
    pub fn candidate(&self, name: &str) -> Option<Candidate> {
        schedulers::find(name, |name| self.schedulers.get(name).cloned().map(Some)).flatten()
    }

    /// Every name that this policy has for this program with these arguments, or else the short one of a
    /// known scheduler if it stands for that. None for what only a pin with arguments of its own, or an
    /// earlier policy, can have started.
    #[must_use]
    pub fn names_of(&self, scheduler: &Scheduler) -> BTreeSet<&str> {
        let own = self.schedulers.values().chain(self.used_schedulers());
        let own = own.filter(|own| own.is_same_as(scheduler));
        let mut names: BTreeSet<&str> = own.map(|own| own.name.as_str()).collect();
        if names.is_empty()
            && let Some(known) = known::by_name(&scheduler.command)
            && let Some(Candidate::Scheduler(named)) = self.candidate(known.name())
            && named.is_same_as(scheduler)
        {
            names.insert(known.name());
        }
        names
    }

    /// The schedulers that some rule would like to run, in the order of the rules; one that several
    /// would like comes several times.
    pub fn used_schedulers(&self) -> impl Iterator<Item = &Scheduler> {
        used(&self.rules)
    }
}

/// The schedulers that `rules` would like to run.
fn used(rules: &[Rule]) -> impl Iterator<Item = &Scheduler> {
    let candidates = rules.iter().flat_map(|rule| &rule.candidates);
    candidates.filter_map(|candidate| match candidate {
        Candidate::Kernel => None,
        Candidate::Scheduler(scheduler) => Some(scheduler),
    })
}

impl Checked {
    /// As [`Policy::load`].
    ///
    /// # Errors
    /// Those of [`Policy::load`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        let text = file::read(path).map_err(|problem| problem.in_file(path))?;
        Self::parse(path, &text)
    }

    /// As [`Policy::parse`].
    ///
    /// # Errors
    /// Those of [`Policy::parse`].
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        let root = yaml::parse(text).map_err(|problem| problem.in_file(path).explained(text))?;
        let mut problems = Problems::default();
        let policy = schema::policy(&mut problems, &root);
        lookalike::warn(&mut problems, &root);
        let (policy, warnings) = problems
            .or(path, policy)
            .map_err(|error| error.explained(text))?;
        let mut places = BTreeMap::new();
        for section in ["schedulers", "metrics"] {
            root.add_places(section, "", &mut places);
        }
        Ok(Self {
            policy,
            warnings,
            places,
        })
    }
}

impl Foreign {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Respect, Self::Replace];

    /// The name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Respect => "respect",
            Self::Replace => "replace",
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            window: Duration::from_millis(250),
            foreign: Foreign::default(),
            signals: Thresholds::default(),
            schedulers: BTreeMap::new(),
            rules: Vec::new(),
            stability: Stability::default(),
            metrics: Metrics::default(),
        }
    }
}

impl Default for Stability {
    fn default() -> Self {
        Self {
            min_run: Duration::from_secs(15),
            settle: Duration::from_secs(1),
            max_switches_per_hour: 30,
        }
    }
}

impl Rule {
    /// The layer it belongs to.
    #[must_use]
    pub fn layer(&self) -> Layer {
        self.when.layer()
    }
}

impl Scheduler {
    /// Whether both start the same program with the same arguments, whatever the policy calls them.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.command == other.command && self.args == other.args
    }

    /// The program with its arguments in one line, for people; what is longer than
    /// [`MAX_COMMAND_LINE`] is cut off.
    #[must_use]
    pub fn command_line(&self) -> String {
        let mut line = self.command.clone();
        for arg in &self.args {
            let plain = |char: char| !char.is_whitespace() && !char.is_control() && char != '"';
            if arg.is_empty() || !arg.chars().all(plain) {
                // Where it begins and ends is seen.
                let _ = write!(line, " {arg:?}");
            } else {
                line.push(' ');
                line.push_str(arg);
            }
            if line.len() > MAX_COMMAND_LINE {
                break;
            }
        }
        if line.len() > MAX_COMMAND_LINE {
            line.truncate(line.floor_char_boundary(MAX_COMMAND_LINE));
            line.push_str("...");
        }
        line
    }
}

impl Candidate {
    /// Whether both are the kernel's own scheduler, or the same program with the same arguments.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kernel, Self::Kernel) => true,
            (Self::Scheduler(one), Self::Scheduler(other)) => one.is_same_as(other),
            (Self::Kernel, Self::Scheduler(_)) | (Self::Scheduler(_), Self::Kernel) => false,
        }
    }

    /// The policy's name for it; [`KERNEL`] for the kernel's own scheduler.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Kernel => KERNEL,
            Self::Scheduler(scheduler) => &scheduler.name,
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
