//! What the decisions remember from event to event.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use auto_ext_profiler::{LevelTracker, Levels, Signals};

use super::Moment;
use super::failures::Failures;
use super::limit::SwitchLimit;
use crate::kernel::KernelState;
use crate::policy::{Candidate, NO_CLASS, Policy, Scheduler};

/// Who decides what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The measured load.
    Auto,
    /// Nobody here: auto-ext watches and starts nothing.
    Observe(ObserveCause),
    /// Somebody else: a scheduler that auto-ext did not start is loaded, or was a moment ago.
    Yielded,
}

/// Why nothing is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObserveCause {
    /// The administrator asked for it.
    Asked,
    /// The kernel cannot load schedulers.
    NoSchedExt,
    /// None of the policy's schedulers is installed.
    NoScheduler,
    /// sched_ext cannot be read.
    KernelUnknown(String),
}

impl Mode {
    /// The name on D-Bus.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Observe(_) => "observe",
            Self::Yielded => "yielded",
        }
    }
}

impl fmt::Display for ObserveCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("started with --observe"),
            Self::NoSchedExt => f.write_str("this kernel has no sched_ext"),
            Self::NoScheduler => f.write_str("none of the policy's schedulers is installed"),
            Self::KernelUnknown(why) => write!(f, "sched_ext cannot be read: {why}"),
        }
    }
}

/// A class that the levels now match, but not yet for long enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassChange {
    /// The class.
    pub class: String,
    /// Since when the levels match it.
    pub since: Moment,
}

/// A switch on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// What is to run.
    pub to: Candidate,
    /// Why.
    pub reason: String,
    /// It was called off.
    pub cancelled: bool,
}

/// All that the decisions remember. What the kernel runs is only ever what it said last.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(crate) observe_asked: bool,
    pub(crate) levels: LevelTracker,
    pub(crate) signals: Option<Signals>,
    pub(crate) class: String,
    pub(crate) class_change: Option<ClassChange>,
    pub(crate) kernel: KernelState,
    /// What the kernel runs is a scheduler of ours.
    pub(crate) ours: bool,
    /// When a scheduler of somebody else was last seen.
    pub(crate) foreign_seen: Option<Moment>,
    pub(crate) installed: BTreeSet<String>,
    /// The scheduler that auto-ext runs, since when.
    pub(crate) running: Option<(Scheduler, Moment)>,
    /// Since when the kernel does not run it although its process lives.
    pub(crate) unseated_since: Option<Moment>,
    pub(crate) switching: Option<Switch>,
    pub(crate) mode: Mode,
    pub(crate) desired: Candidate,
    pub(crate) reason: String,
    pub(crate) failures: Failures,
    /// When a switch last came to nothing.
    pub(crate) failed_at: Option<Moment>,
    pub(crate) limit: SwitchLimit,
    pub(crate) last_error: String,
}

impl State {
    /// The beginning: nothing measured, the kernel not asked yet.
    #[must_use]
    pub fn new(policy: &Policy, observe: bool) -> Self {
        Self {
            observe_asked: observe,
            levels: LevelTracker::new(policy.signals),
            signals: None,
            class: NO_CLASS.to_owned(),
            class_change: None,
            kernel: KernelState::Unknown("not asked yet".to_owned()),
            ours: false,
            foreign_seen: None,
            installed: BTreeSet::new(),
            running: None,
            unseated_since: None,
            switching: None,
            mode: Mode::Observe(ObserveCause::KernelUnknown("not asked yet".to_owned())),
            desired: Candidate::Kernel,
            reason: "nothing has been measured yet".to_owned(),
            failures: Failures::default(),
            failed_at: None,
            limit: SwitchLimit::default(),
            last_error: String::new(),
        }
    }

    /// Who decides what runs.
    #[must_use]
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The class of the load.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The levels as of the last window.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.levels.levels()
    }

    /// The signals of the last window, if there was one.
    #[must_use]
    pub fn signals(&self) -> Option<&Signals> {
        self.signals.as_ref()
    }

    /// What should run, by the policy, whether or not it already does.
    #[must_use]
    pub fn desired(&self) -> &Candidate {
        &self.desired
    }

    /// Why, for people.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What the kernel said last.
    #[must_use]
    pub fn kernel(&self) -> &KernelState {
        &self.kernel
    }

    /// Whether what the kernel runs is a scheduler of ours.
    #[must_use]
    pub fn ours(&self) -> bool {
        self.ours
    }

    /// The policy's names of the schedulers that can be run.
    #[must_use]
    pub fn installed(&self) -> &BTreeSet<String> {
        &self.installed
    }

    /// The scheduler that auto-ext runs.
    #[must_use]
    pub fn running(&self) -> Option<&Scheduler> {
        self.running.as_ref().map(|(scheduler, _)| scheduler)
    }

    /// The switch on its way.
    #[must_use]
    pub fn switching(&self) -> Option<&Switch> {
        self.switching.as_ref()
    }

    /// The schedulers that are left alone at `now` because they failed, and until when.
    #[must_use]
    pub fn quarantined(&self, now: Moment) -> BTreeMap<String, Moment> {
        self.failures.quarantined(now)
    }

    /// The last failure, for people; empty when there was none.
    #[must_use]
    pub fn last_error(&self) -> &str {
        &self.last_error
    }
}
