//! What the decisions remember from event to event, as it can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use auto_ext_policy::{Candidate, Context, NO_CLASS, Policy, Power, Profile, Scheduler};
use auto_ext_signals::{LevelTracker, Levels, Process, Signals};
use auto_ext_trials::Trials;

use crate::brief_loads::BriefLoads;
use crate::choice::{Choice, Precedence};
use crate::core_scheduling::CoreScheduling;
use crate::failures::{Failure, Failures};
use crate::kernel_state::KernelState;
use crate::leases::Leases;
use crate::limit::{Counts, SwitchLimit};
use crate::mode::{Mode, ObserveCause};
use crate::moment::Moment;
use crate::pins::{Pin, Pins};
use crate::safe_mode::SafeMode;

/// A switch on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// What is to run.
    pub to: Candidate,
    /// Why, for people.
    pub reason: String,
    /// Since when something else should run.
    pub unwanted_since: Option<Moment>,
    /// It was cancelled; it has not ended yet.
    pub cancelled: bool,
    /// Who asks for it.
    pub precedence: Precedence,
    /// Against which limit it counts.
    pub counts: Counts,
    /// It is a turn of a trial.
    pub trial: bool,
}

impl Switch {
    /// Whether a load alone asked for it, and still does as far as is known.
    pub(crate) fn is_for_a_load(&self) -> bool {
        self.precedence == Precedence::LOWEST && !self.trial && !self.cancelled
    }

    /// The reason why its target does not run yet.
    pub(crate) fn progress(&self) -> String {
        format!("{} is being brought in", self.to)
    }
}

/// One application's wish that what runs stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which application.
    pub application: String,
    /// Why, in its words.
    pub reason: String,
}

/// A scheduler of ours that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which.
    pub scheduler: Scheduler,
    /// Since when.
    pub since: Moment,
    /// Who asked for it.
    pub precedence: Precedence,
    /// Against which limit its start counted; its end counts against the same.
    pub(crate) counts: Counts,
    /// It need not have run for the least time: the lease that it was started for has ended, it was started for a turn of a trial, or a
    /// person asked for other arguments.
    pub(crate) may_leave: bool,
    /// It has failed, and the failure has been recorded.
    pub(crate) failure_recorded: bool,
}

/// All that the decisions remember. What the kernel runs is what it said last, and never inferred.
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
    pub(crate) core_scheduling: CoreScheduling,
    pub(crate) installed: BTreeSet<String>,
    /// The processes that the policy asks about.
    pub(crate) processes: Arc<BTreeMap<u32, Process>>,
    pub(crate) power: Option<Power>,
    pub(crate) profile: Option<Profile>,
    pub(crate) pins: Pins,
    /// The arguments that a person asked for, by programs.
    pub(crate) arguments_asked: BTreeMap<String, Vec<String>>,
    /// A person asked for what runs to be loaded anew, which has not begun.
    pub(crate) restart_asked: bool,
    pub(crate) leases: Leases,
    pub(crate) holds: BTreeMap<u32, Hold>,
    /// What ran when the first of the holds began; while `held_is_open`, what will run as far as is known.
    pub(crate) held: Candidate,
    /// The first of the holds began during the switch that is on its way: what runs after it is held.
    pub(crate) held_is_open: bool,
    /// The scheduler that auto-ext runs.
    pub(crate) running: Option<Running>,
    /// Since when it is detached: its process lives, but the kernel does not run it.
    pub(crate) detached_since: Option<Moment>,
    pub(crate) switching: Option<Switch>,
    pub(crate) mode: Mode,
    pub(crate) choice: Choice,
    pub(crate) asleep: bool,
    /// When the machine last woke up.
    pub(crate) awake_since: Option<Moment>,
    pub(crate) failures: Failures,
    pub(crate) safe_mode: SafeMode,
    pub(crate) trials: Trials,
    /// When a switch last failed without a failure of its target, which is quarantined then.
    pub(crate) failed_at: Option<Moment>,
    /// The loads that ended while a scheduler was loading for them, since one was loaded for one.
    pub(crate) brief_loads: BriefLoads,
    /// The schedulers whose start failed through no fault of theirs, an entry for each attempt since they last ran.
    pub(crate) prevented_starts: Vec<Scheduler>,
    pub(crate) limit: SwitchLimit,
    /// The switches of comparisons, which have a limit of their own.
    pub(crate) compared: SwitchLimit,
    /// The last switch was for a turn of a comparison: the next one may be the way back from it.
    pub(crate) after_turn: bool,
    /// The last failure other than of the policy's file, for people; empty when there was none.
    pub(crate) last_failure: String,
    /// What is wrong with the policy's file, for as long as it is.
    pub(crate) policy_problem: Option<String>,
    /// `last_failure` is later than `policy_problem`.
    pub(crate) failed_since: bool,
}

impl State {
    /// Whether the machine is about to sleep, so that nothing is switched.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// The state before the first event: nothing is measured, and the kernel has not been asked. With `observe`, nothing
    /// is ever started.
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
            core_scheduling: CoreScheduling::Unused,
            installed: BTreeSet::new(),
            processes: Arc::default(),
            power: None,
            profile: None,
            pins: Pins::default(),
            arguments_asked: BTreeMap::new(),
            restart_asked: false,
            leases: Leases::default(),
            holds: BTreeMap::new(),
            held: Candidate::Kernel,
            held_is_open: false,
            running: None,
            detached_since: None,
            switching: None,
            mode: Mode::Observe(ObserveCause::KernelUnknown("not asked yet".to_owned())),
            choice: Choice {
                desired: Candidate::Kernel,
                precedence: Precedence::LOWEST,
                because: "nothing has been measured yet".to_owned(),
                rejected: Vec::new(),
                waits: None,
                trial: false,
            },
            asleep: false,
            awake_since: None,
            failures: Failures::default(),
            safe_mode: SafeMode::default(),
            trials: Trials::default(),
            failed_at: None,
            brief_loads: BriefLoads::default(),
            prevented_starts: Vec::new(),
            limit: SwitchLimit::default(),
            compared: SwitchLimit::default(),
            after_turn: false,
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

    /// All that conditions of rules ask about.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context {
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

    /// What should run, whether or not it already does.
    #[must_use]
    pub fn desired(&self) -> &Candidate {
        &self.choice.desired
    }

    /// Why it should, for people, and why it does not yet.
    #[must_use]
    pub fn reason(&self) -> String {
        self.choice.to_string()
    }

    /// What should run, with all that was considered.
    #[must_use]
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The pin that is in force.
    #[must_use]
    pub fn pin(&self) -> Option<&Pin> {
        self.pins.current()
    }

    /// What is remembered of trials.
    #[must_use]
    pub fn trials(&self) -> &Trials {
        &self.trials
    }

    /// The holds by their cookies.
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

    /// Whether core scheduling was in use when it was last looked for.
    #[must_use]
    pub fn core_scheduling(&self) -> &CoreScheduling {
        &self.core_scheduling
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

    /// The switch that is on its way.
    #[must_use]
    pub fn switching(&self) -> Option<&Switch> {
        self.switching.as_ref()
    }

    /// The schedulers that are quarantined at `now`, and until when: by every name that `policy` has for them, or else
    /// by their program and arguments.
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

    /// Why `candidate` is quarantined at `now`, in words that go on after its name; `None` when it is not.
    #[must_use]
    pub fn quarantine(&self, candidate: &Candidate, now: Moment) -> Option<String> {
        let Candidate::Scheduler(scheduler) = candidate else {
            return None;
        };
        let error = self.failures.quarantine(scheduler, now)?;
        Some(format!("is quarantined because it failed: {error}"))
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

    /// Whether the safe mode is in force, in which nothing is started.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(self.mode, Mode::Observe(ObserveCause::Safe(_)))
    }

    /// The failures that are remembered, the latest last.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> + Clone {
        self.failures.iter()
    }

    /// Whether something is wrong with the policy's file, so that an earlier policy is in force.
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

    /// What auto-ext runs.
    pub(crate) fn runs(&self) -> Candidate {
        match &self.running {
            Some(running) => Candidate::Scheduler(running.scheduler.clone()),
            None => Candidate::Kernel,
        }
    }

    /// What will run if nothing else happens.
    pub(crate) fn runs_or_will_run(&self) -> Candidate {
        match &self.switching {
            Some(switch) if !switch.cancelled => switch.to.clone(),
            _ => self.runs(),
        }
    }

    /// Whether the kernel runs a scheduler that auto-ext did not start.
    pub(crate) fn foreign_runs(&self) -> bool {
        matches!(self.kernel, KernelState::Enabled { .. }) && !self.ours
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
