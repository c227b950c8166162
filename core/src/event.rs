//! The events that decisions are made on, and the actions that they result in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use auto_ext_policy::{Candidate, Power, Profile, Scheduler};
use auto_ext_signals::{ProcessEvent, Signals};
use auto_ext_trials::{
    Comparison, Consent, Export, Here, Key, PairRecord, Reading, Table, TrialEnd, Unquiet,
};

use crate::cause::{Cause, End};
use crate::core_scheduling::CoreScheduling;
use crate::failures::Failure;
use crate::kernel_state::KernelState;
use crate::leases::Lease;

/// Everything that the decisions depend on.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// One window was measured.
    Window {
        /// Its length.
        dt: Duration,
        /// What was measured in it.
        signals: Signals,
    },
    /// The kernel was asked what runs.
    Kernel {
        /// What it said.
        state: KernelState,
        /// Whether that is a scheduler of ours.
        ours: bool,
    },
    /// Whether core scheduling is in use, as it was read.
    CoreScheduling(CoreScheduling),
    /// These schedulers of the policy, by its names, have a program that can be run.
    Installed(BTreeSet<String>),
    /// A switch that was asked for has been made, and the kernel confirms it.
    Switched {
        /// What runs now.
        to: Candidate,
    },
    /// A switch that was asked for failed or was cancelled.
    SwitchFailed {
        /// What was to run.
        to: Candidate,
        /// Why it does not.
        error: String,
        /// What failed.
        fault: Fault,
        /// Which scheduler of ours runs instead; `None`: the kernel's own.
        left: Option<Scheduler>,
    },
    /// The process of the scheduler ended by itself, or was ended by somebody else.
    SchedulerExited {
        /// Which.
        scheduler: Scheduler,
        /// How.
        end: End,
    },
    /// The kernel disabled the scheduler for an error; its process may still live.
    SchedulerEjected(End),
    /// The failures of schedulers from before the first event.
    Remembered(Vec<Failure>),
    /// The failures of a program are forgotten: it was replaced, or a person says that it is repaired.
    FailuresReset {
        /// The program, as the policy names it.
        command: String,
    },
    /// The safe mode begins, in which nothing is started until it ends or a day has passed.
    SafeModeEntered {
        /// Why.
        why: String,
    },
    /// A person ends the safe mode.
    SafeModeEnded,
    /// The policy's file cannot be used; the policy in force stays.
    PolicyProblem {
        /// What is wrong with it, for people.
        error: String,
    },
    /// From now on the decisions are made with another policy. As only the processes that the old one asks about are
    /// remembered, [`Event::Processes`] with all of them has to follow.
    PolicyChanged,
    /// Changes of the machine's processes, in order.
    Processes(Vec<ProcessEvent>),
    /// Where the power comes from; `None`: unknown.
    Power(Option<Power>),
    /// The active power profile; `None`: no service says one.
    Profile(Option<Profile>),
    /// A person, or a program, wants this to run, whatever is measured. A program cannot overrule the safe mode, nor what is held against a scheduler.
    Pinned {
        /// What.
        to: Candidate,
        /// For how long; `None`: until it is unpinned.
        lasts: Option<Duration>,
        /// By which program they asked, where it is not one of ours.
        by: Option<String>,
    },
    /// A person ends all pins.
    Unpinned,
    /// A program takes back what it pinned, or all programs do if none is named.
    UnpinnedBy {
        /// Which program.
        program: Option<String>,
    },
    /// A person wants these programs to be run with these arguments, in place of the policy's, wherever a rule asks for
    /// them. What was wanted before is not any more.
    ArgumentsAsked(BTreeMap<String, Vec<String>>),
    /// A person wants the scheduler of ours that runs to be loaded anew.
    RestartAsked,
    /// An application wants what runs now to stay.
    Held {
        /// The number of the hold, which no other has.
        cookie: u32,
        /// Which application.
        application: String,
        /// Why, in its words.
        reason: String,
    },
    /// An application wants this to run for as long as it does.
    Leased(Lease),
    /// A hold or a lease has ended.
    Released {
        /// Its number.
        cookie: u32,
    },
    /// The machine slept for this long since the last event, as its clocks say.
    Slept(Duration),
    /// The machine is about to sleep or to shut down.
    FallsAsleep,
    /// The machine woke up, or is not going to shut down after all.
    WakesUp,
    /// A second was measured, as [`Action::Measure`] asks for.
    Outcome(Arc<Reading>),
    /// What is in the way of a trial, as far as this crate cannot know it itself: all of it, whenever that changes.
    Quiet(Vec<Unquiet>),
    /// By what the coin of trials is tossed; once, before the first of them.
    Seed(u64),
    /// What was learned by trials before the first event, and spent on them. Without it there are none, and the policy's order stands.
    Learned {
        /// What was kept.
        table: Box<Table>,
        /// The time since 1970 at the moment zero.
        epoch: Duration,
    },
    /// On which machine this is, and with which builds of schedulers; again whenever that changes.
    Here(Box<Here>),
    /// What somebody consents to; `None`: to no trial any more.
    Consent(Option<Consent>),
    /// A person has what a comparison found kept, in place of what trials found of that.
    Compared {
        /// What it is about.
        key: Box<Key>,
        /// What it measured.
        comparison: Box<Comparison>,
    },
    /// A person takes in what trials found on other machines.
    Imported(Box<Export>),
    /// A person ends the trial that is on.
    TrialEnded,
    /// A person has what was learned forgotten.
    LearnedForgotten {
        /// For which class; `None`: for all.
        class: Option<String>,
    },
}

/// What failed when a switch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The scheduler that was to run, in this way.
    New(Cause),
    /// The scheduler that runs: it cannot be ended.
    Old,
    /// Neither: for instance another scheduler was enabled first.
    Nobody,
    /// The switch was cancelled.
    Cancelled,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Have the kernel run this, and report the outcome as [`Event::Switched`] or [`Event::SwitchFailed`].
    Switch {
        /// What is to run.
        to: Candidate,
        /// Why, for people.
        reason: String,
        /// A scheduler that auto-ext did not start is to be asked to leave.
        replace_foreign: bool,
        /// It is a turn of a trial.
        trial: bool,
    },
    /// Cancel the switch that is on its way if it still can be. Its outcome is reported all the same.
    Cancel,
    /// Begin or end to measure outcomes, and report an [`Event::Outcome`] each second meanwhile.
    Measure(bool),
    /// Keep this pair of a trial, for people.
    KeepPair(Box<PairRecord>),
    /// Keep what was learned, [`State::trials`](crate::State::trials), which is not what it was.
    KeepLearned,
    /// Tell people that a trial has ended.
    TrialEnded(Box<TrialEnd>),
}
