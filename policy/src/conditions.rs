//! When a rule applies: its conditions, what they ask about, and whether they hold.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use auto_ext_signals::{Level, Levels, Process, Signal};
use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;
use crate::selection::Selection;

/// What a rule asks for: all of it must hold. The default asks for nothing and always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The level each signal must have, in the order of the file.
    pub levels: Vec<(Signal, Level)>,
    /// A process of one of these must run; empty: any will do.
    pub processes: Selection,
    /// Processes that do not count, though they are among `processes`.
    pub except: Selection,
    /// One of these must match the cgroup of a process that runs, the same as in `processes`;
    /// empty: any will do.
    pub cgroups: Vec<Pattern>,
    /// What the machine must run on.
    pub power: Option<Power>,
    /// The power profile that must be chosen.
    pub profile: Option<Profile>,
}

/// All that conditions ask about.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The level of every signal.
    pub levels: Levels,
    /// The processes that run, by number; those that no rule [wants](crate::Policy::wants) make
    /// no difference.
    pub processes: &'a BTreeMap<u32, Process>,
    /// What the machine runs on; `None`: unknown, so that no condition on it holds.
    pub power: Option<Power>,
    /// The power profile; `None`: unknown, so that no condition on it holds.
    pub profile: Option<Profile>,
}

/// What the machine runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// The mains.
    Ac,
    /// A battery.
    Battery,
}

/// A power profile, by its name in power-profiles-daemon and tuned-ppd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Fast at any price.
    Performance,
    /// The default of most machines.
    Balanced,
    /// Saves energy.
    PowerSaver,
}

/// What a rule asks about, by which rules come before others whatever their order in the file. That an application
/// runs says more than that the machine is on battery, and both say more than a level.
///
/// In the JSON of `auto-ext why` this is `layer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precedence {
    /// The last: rules with conditions on levels alone, or with none.
    Measured,
    /// Rules with a condition on power or profile, and none on a process or cgroup.
    Power,
    /// The first: rules with a condition on a process or cgroup.
    Application,
}

impl Conditions {
    /// Whether all of them hold.
    #[must_use]
    pub fn hold(&self, now: &Context<'_>) -> bool {
        // A signal that could not be measured is neither high nor low.
        let level = |&(signal, level): &(Signal, Level)| {
            level != Level::Unknown && now.levels.get(signal) == level
        };
        self.levels.iter().all(level)
            && (self.power.is_none() || self.power == now.power)
            && (self.profile.is_none() || self.profile == now.profile)
            && (!self.are_about_processes() || self.process(now.processes).is_some())
    }

    /// The precedence of a rule with these conditions.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        if self.are_about_processes() {
            Precedence::Application
        } else if self.power.is_some() || self.profile.is_some() {
            Precedence::Power
        } else {
            Precedence::Measured
        }
    }

    /// Whether it matters to these conditions that `process` runs: they ask about processes or cgroups, and it matches.
    #[must_use]
    pub fn want(&self, process: &Process) -> bool {
        let in_cgroup = |pattern: &Pattern| pattern.matches(process);
        self.are_about_processes()
            && (self.processes.is_empty() || self.processes.contain(process))
            && (self.cgroups.is_empty() || self.cgroups.iter().any(in_cgroup))
            && !self.except.contain(process)
    }

    /// The first of `processes` for which the conditions on processes and cgroups hold; `None`
    /// also when there are no such conditions.
    #[must_use]
    pub fn process<'p>(&self, processes: &'p BTreeMap<u32, Process>) -> Option<&'p Process> {
        processes.values().find(|process| self.want(process))
    }

    /// Whether they ask what processes descend from.
    pub(super) fn are_about_ancestors(&self) -> bool {
        !self.processes.descendants.is_empty() || !self.except.descendants.is_empty()
    }

    fn are_about_processes(&self) -> bool {
        !self.processes.is_empty() || !self.cgroups.is_empty()
    }

    /// How many patterns and lists processes are compared with.
    pub(super) fn patterns(&self) -> usize {
        self.processes.patterns() + self.except.patterns() + self.cgroups.len()
    }

    /// Whether these certainly hold whenever `others` do. `false` as well where that is not easily known.
    pub(super) fn follow_from(&self, others: &Self) -> bool {
        let covered = |ours: &[Pattern], theirs: &[Pattern]| {
            let covered = |pattern| ours.iter().any(|wider| wider.covers(pattern));
            ours.is_empty() || (!theirs.is_empty() && theirs.iter().all(covered))
        };
        self.levels
            .iter()
            .all(|level| others.levels.contains(level))
            && (self.power.is_none() || self.power == others.power)
            && (self.profile.is_none() || self.profile == others.profile)
            && (self.processes.is_empty()
                || (!others.processes.is_empty() && self.processes.cover(&others.processes)))
            // What does not count here must not count there either.
            && others.except.cover(&self.except)
            && covered(&self.cgroups, &others.cgroups)
    }
}

impl Power {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Ac, Self::Battery];

    /// The name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ac => "ac",
            Self::Battery => "battery",
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Power {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|power| power.name() == name)
            .ok_or_else(|| format!("`{name}` is not something a machine runs on"))
    }
}

impl Profile {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Performance, Self::Balanced, Self::PowerSaver];

    /// The name in policies, and on D-Bus where profiles are chosen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Performance => "performance",
            Self::Balanced => "balanced",
            Self::PowerSaver => "power-saver",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| format!("`{name}` is not a power profile"))
    }
}

impl Precedence {
    /// All there are, the first to be considered first.
    pub const ALL: [Self; 3] = [Self::Application, Self::Power, Self::Measured];

    /// The name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Power => "power",
            Self::Measured => "measured",
        }
    }
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
