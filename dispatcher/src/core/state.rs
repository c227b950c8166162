//! What the decisions remember from event to event.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use auto_ext_profiler::{LevelTracker, Levels, Process, Signals};

use super::Moment;
use super::failures::{Failure, Failures};
use super::limit::SwitchLimit;
use super::pins::{Pin, Pins};
use super::trust::Trust;
use crate::kernel::KernelState;
use crate::policy::{self, Candidate, Circumstances, NO_CLASS, Policy, Power, Profile, Scheduler};

/// Who decides what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The measured load.
    Auto,
    /// A person, who named what is to run.
    Pinned,
    /// An application, which wants what runs to stay.
    Held,
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
    /// Schedulers did too much harm, or were brought to their end by a person in need.
    Safe(String),
}

impl ObserveCause {
    /// Whether a person can still name a scheduler to run: the policy's may be missing, and a person
    /// may know better.
    #[must_use]
    pub fn leaves_room_for_a_pin(&self) -> bool {
        matches!(self, Self::NoScheduler | Self::Safe(_))
    }
}

impl Mode {
    /// The name on D-Bus.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pinned => "pinned",
            Self::Held => "held",
            Self::Observe(_) => "observe",
            Self::Yielded => "yielded",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.because)?;
        for (candidate, why) in &self.rejected {
            write!(f, "; {candidate} {why}")?;
        }
        match &self.waits {
            Some(why) => write!(f, "; {why}"),
            None => Ok(()),
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
            Self::Safe(why) => write!(
                f,
                "safe mode, the kernel's own scheduler runs because {why}; `auto-ext reload` ends it"
            ),
        }
    }
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
    /// Who asks for it.
    pub layer: Layer,
    /// It counts against the hourly limit.
    pub counts: bool,
}

impl Switch {
    /// What what should run has to wait for.
    pub(crate) fn progress(&self) -> String {
        format!("{} is being brought in", self.to)
    }
}

/// Who asks for what runs; a later one overrules an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// A rule of the policy.
    Rule(policy::Layer),
    /// An application that holds on to what ran.
    Hold,
    /// A person.
    Pin,
}

impl Layer {
    /// Everybody overrules this.
    pub(crate) const LOWEST: Self = Self::Rule(policy::Layer::Measured);
}

/// One application's wish that what runs stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which application.
    pub application: String,
    /// Why, in its words.
    pub reason: String,
}

/// What should run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What should run.
    pub desired: Candidate,
    /// Who asks for it.
    pub layer: Layer,
    /// Why, for people.
    pub because: String,
    /// What would have been better, and why it cannot be.
    pub rejected: Vec<(Candidate, String)>,
    /// Why it does not run yet.
    pub waits: Option<String>,
}

/// A scheduler of ours that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which.
    pub scheduler: Scheduler,
    /// Since when.
    pub since: Moment,
    /// Who asked for it.
    pub layer: Layer,
    /// Its start counted against the hourly limit, so its end does too.
    pub(crate) counts: bool,
    /// It has failed since, and that has been taken note of.
    pub(crate) blamed: bool,
}

/// All that the decisions remember. What the kernel runs is only ever what it said last.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(crate) observe_asked: bool,
    pub(crate) levels: LevelTracker,
    pub(crate) signals: Option<Signals>,
    pub(crate) class: String,
    pub(crate) class_since: Moment,
    /// Since when the rule of the class has not applied.
    pub(crate) class_lost: Option<Moment>,
    pub(crate) kernel: KernelState,
    /// What the kernel runs is a scheduler of ours.
    pub(crate) ours: bool,
    /// When a scheduler of somebody else was last seen.
    pub(crate) foreign_seen: Option<Moment>,
    pub(crate) installed: BTreeSet<String>,
    /// The processes that the policy asks about.
    pub(crate) processes: Arc<BTreeMap<u32, Process>>,
    pub(crate) power: Option<Power>,
    pub(crate) profile: Option<Profile>,
    pub(crate) pins: Pins,
    pub(crate) holds: BTreeMap<u32, Hold>,
    /// What ran when the first of the holds began; while `held_is_open`, what will run as far as is known.
    pub(crate) held: Candidate,
    /// The first of the holds began during the switch that is on its way: what comes of that is held.
    pub(crate) held_is_open: bool,
    /// The scheduler that auto-ext runs.
    pub(crate) running: Option<Running>,
    /// Since when the kernel does not run it although its process lives.
    pub(crate) unseated_since: Option<Moment>,
    pub(crate) switching: Option<Switch>,
    pub(crate) mode: Mode,
    pub(crate) choice: Choice,
    pub(crate) asleep: bool,
    /// When the machine last woke up.
    pub(crate) awake_since: Option<Moment>,
    pub(crate) failures: Failures,
    pub(crate) trust: Trust,
    /// When a switch last came to nothing.
    pub(crate) failed_at: Option<Moment>,
    /// The schedulers that did not come to run through nobody's fault, an entry for each attempt since they last ran.
    pub(crate) fruitless: Vec<Scheduler>,
    pub(crate) limit: SwitchLimit,
    /// What last failed beside the policy, for people; empty when nothing did.
    pub(crate) last_failure: String,
    /// What is wrong with the policy's file, for as long as it is.
    pub(crate) policy_problem: Option<String>,
    /// That was before `last_failure`.
    pub(crate) failed_since: bool,
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
            class_since: Moment::ZERO,
            class_lost: None,
            kernel: KernelState::Unknown("not asked yet".to_owned()),
            ours: false,
            foreign_seen: None,
            installed: BTreeSet::new(),
            processes: Arc::default(),
            power: None,
            profile: None,
            pins: Pins::default(),
            holds: BTreeMap::new(),
            held: Candidate::Kernel,
            held_is_open: false,
            running: None,
            unseated_since: None,
            switching: None,
            mode: Mode::Observe(ObserveCause::KernelUnknown("not asked yet".to_owned())),
            choice: Choice {
                desired: Candidate::Kernel,
                layer: Layer::LOWEST,
                because: "nothing has been measured yet".to_owned(),
                rejected: Vec::new(),
                waits: None,
            },
            asleep: false,
            awake_since: None,
            failures: Failures::default(),
            trust: Trust::default(),
            failed_at: None,
            fruitless: Vec::new(),
            limit: SwitchLimit::default(),
            last_failure: String::new(),
            policy_problem: None,
            failed_since: false,
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

    /// Whether a level changes if the next windows are like the last one.
    #[must_use]
    pub fn levels_may_change(&self) -> bool {
        self.levels.may_change()
    }

    /// The signals of the last window, if there was one.
    #[must_use]
    pub fn signals(&self) -> Option<&Signals> {
        self.signals.as_ref()
    }

    /// All that rules ask for.
    #[must_use]
    pub fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            levels: self.levels(),
            processes: &self.processes,
            power: self.power,
            profile: self.profile,
        }
    }

    /// Where the power comes from, as far as that is known.
    #[must_use]
    pub fn power(&self) -> Option<Power> {
        self.power
    }

    /// The active power profile, as far as that is known.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        self.profile
    }

    /// What should run, by the policy, whether or not it already does.
    #[must_use]
    pub fn desired(&self) -> &Candidate {
        &self.choice.desired
    }

    /// Why, for people, and why not yet.
    #[must_use]
    pub fn reason(&self) -> String {
        self.choice.to_string()
    }

    /// What should run, with all that was considered.
    #[must_use]
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// What a person wants to run.
    #[must_use]
    pub fn pin(&self) -> Option<&Pin> {
        self.pins.current()
    }

    /// The holds by their numbers.
    #[must_use]
    pub fn holds(&self) -> &BTreeMap<u32, Hold> {
        &self.holds
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
        self.running.as_ref().map(|running| &running.scheduler)
    }

    /// The switch on its way.
    #[must_use]
    pub fn switching(&self) -> Option<&Switch> {
        self.switching.as_ref()
    }

    /// The schedulers that are left alone at `now` because they failed, and until when: by every name
    /// that `policy` has for them, or else by their program and arguments.
    #[must_use]
    pub fn quarantined(&self, policy: &Policy, now: Moment) -> BTreeMap<String, Moment> {
        let mut quarantined = BTreeMap::new();
        for failure in self.failures.quarantined(now) {
            for name in shown_names(policy, &failure.scheduler) {
                let latest = quarantined.entry(name).or_insert(failure.until);
                *latest = failure.until.max(*latest);
            }
        }
        quarantined
    }

    /// The program of the scheduler that [`Self::quarantined`] calls `name`.
    #[must_use]
    pub fn quarantined_program(&self, policy: &Policy, name: &str, now: Moment) -> Option<&str> {
        let is_called = |failure: &&Failure| {
            let names = shown_names(policy, &failure.scheduler);
            names.iter().any(|shown| shown == name)
        };
        let failure = self.failures.quarantined(now).find(is_called)?;
        Some(&failure.scheduler.command)
    }

    /// Whether nothing is started because schedulers are not trusted.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(self.mode, Mode::Observe(ObserveCause::Safe(_)))
    }

    /// The failures that are remembered.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> + Clone {
        self.failures.iter()
    }

    /// Whether something is wrong with the policy's file.
    #[must_use]
    pub fn has_policy_problem(&self) -> bool {
        self.policy_problem.is_some()
    }

    /// The last failure, for people, and what is wrong with the policy's file as long as something is;
    /// empty when there was none.
    #[must_use]
    pub fn last_error(&self) -> String {
        let failure = &self.last_failure;
        match &self.policy_problem {
            None => failure.clone(),
            Some(problem) if self.failed_since => {
                format!("{failure}; and the policy's file is not in force: {problem}")
            }
            Some(problem) => problem.clone(),
        }
    }
}

/// Every name that `policy` has for `scheduler`, or else its program with its arguments.
fn shown_names(policy: &Policy, scheduler: &Scheduler) -> Vec<String> {
    let names = policy.names_of(scheduler).into_iter().map(str::to_owned);
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return vec![scheduler.command_line()];
    }
    names
}
