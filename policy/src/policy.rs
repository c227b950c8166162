//! A valid policy, and which of its rules applies when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use auto_ext_signals::{Process, Thresholds};

use crate::candidate::{Candidate, Scheduler};
use crate::compat::Compat;
use crate::conditions::{Conditions, Context, Precedence};
use crate::known;
use crate::metrics::Metrics;
use crate::trials::{Goal, Trials};

/// The class when no rule matches; no rule may take the name.
pub const NO_CLASS: &str = "none";

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
    /// The schedulers that the policy defines, by its names for them.
    pub schedulers: BTreeMap<String, Scheduler>,
    /// The rules in the order of the file. Of those of the first precedence that has a match, the first
    /// that matches wins; see [`Precedence`].
    pub rules: Vec<Rule>,
    /// How often schedulers may be switched.
    pub stability: Stability,
    /// Where metrics can be read.
    pub metrics: Metrics,
    /// Which interfaces of other services are offered.
    pub compat: Compat,
    /// Whether schedulers are tried.
    pub trials: Trials,
}

/// What to do about a sched_ext scheduler that auto-ext did not start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreign {
    /// Change nothing until it is gone.
    #[default]
    Respect,
    /// Replace it by what the policy wants.
    Replace,
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
    /// What else may be tried in a trial; empty where nothing is to be.
    pub challengers: Vec<Candidate>,
    /// What a better scheduler is better at; `None`: what the conditions suggest. See [`Self::goal`].
    pub goal: Option<Goal>,
}

/// How often schedulers may be switched, and how long what is there stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stability {
    /// How long a scheduler runs before a rule of the same or a lower precedence replaces it, 0 to 1 h.
    pub min_run: Duration,
    /// How long a class stays when its rule does not apply any more and a later one does, 0 to 60 s.
    pub settle: Duration,
    /// How many switches there may be in an hour, 2 to 3600. A scheduler takes two: its start, and the way back.
    pub max_switches_per_hour: u32,
}

impl Policy {
    /// The rule that applies: precedence by precedence (see [`Precedence`]), the first in the order of the file
    /// whose conditions hold. `None` when there is none: then the class is [`NO_CLASS`] and the
    /// kernel's own scheduler runs.
    #[must_use]
    pub fn rule_for(&self, now: &Context<'_>) -> Option<&Rule> {
        let applies =
            |precedence, rule: &&Rule| rule.precedence() == precedence && rule.when.hold(now);
        Precedence::ALL
            .into_iter()
            .find_map(|precedence| self.rules.iter().find(|rule| applies(precedence, rule)))
    }

    /// Whether the conditions of some rule match this process. Processes for which this is `false` make no difference
    /// to [`Self::rule_for`].
    #[must_use]
    pub fn wants(&self, process: &Process) -> bool {
        self.rules.iter().any(|rule| rule.when.want(process))
    }

    /// Whether some rule has a condition on processes or cgroups.
    #[must_use]
    pub fn asks_about_processes(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.precedence() == Precedence::Application)
    }

    /// Whether some rule asks what processes descend from.
    #[must_use]
    pub fn asks_about_ancestors(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.when.are_about_ancestors())
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
        (one.precedence(), place(other)) > (other.precedence(), place(one))
    }

    /// What `name` stands for: `kernel`, a scheduler of the policy, or a known one, by its short or
    /// its full name.
    #[must_use]
    pub fn candidate(&self, name: &str) -> Option<Candidate> {
        known::candidate(name, |name| self.schedulers.get(name).cloned().map(Some)).flatten()
    }

    /// Whether a rule or the list of schedulers has this program with these arguments. The kernel's own is in every
    /// policy.
    #[must_use]
    pub fn names(&self, candidate: &Candidate) -> bool {
        match candidate {
            Candidate::Kernel => true,
            Candidate::Scheduler(scheduler) => {
                let own = self.schedulers.values().chain(self.used_schedulers());
                own.into_iter().any(|own| own.is_same_as(scheduler))
            }
        }
    }

    /// Every name that this policy has for this program with these arguments, or else the short name of a known
    /// scheduler if it stands for that. Empty for what only a pin with arguments of its own, or an earlier policy, can
    /// have started.
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

    /// The schedulers among the candidates and challengers of the rules, in the order of the rules; one may come several times.
    pub fn used_schedulers(&self) -> impl Iterator<Item = &Scheduler> {
        used(&self.rules)
    }
}

/// The schedulers among the candidates and challengers of `rules`.
pub(crate) fn used(rules: &[Rule]) -> impl Iterator<Item = &Scheduler> {
    let candidates = rules
        .iter()
        .flat_map(|rule| rule.candidates.iter().chain(&rule.challengers));
    candidates.filter_map(|candidate| match candidate {
        Candidate::Kernel => None,
        Candidate::Scheduler(scheduler) => Some(scheduler),
    })
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
            compat: Compat::default(),
            trials: Trials::default(),
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
    /// Before which other rules it comes.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        self.when.precedence()
    }

    /// What a scheduler has to be better at to be better under this rule. `with_sleepers`: enough tasks sleep and are woken
    /// that their waits say something.
    #[must_use]
    pub fn goal(&self, with_sleepers: bool) -> Goal {
        match self.precedence() {
            Precedence::Measured => self
                .goal
                .unwrap_or_else(|| Goal::of(&self.when, with_sleepers)),
            // What they ask for is never overruled.
            Precedence::Power | Precedence::Application => Goal::None,
        }
    }
}
