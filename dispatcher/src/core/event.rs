//! What can happen, and what can be done about it.

use std::collections::BTreeSet;
use std::time::Duration;

use auto_ext_profiler::{ProcessEvent, Signals};

use super::cause::{Cause, End};
use super::failures::Failure;
use crate::kernel::KernelState;
use crate::policy::{Candidate, Power, Profile, Scheduler};

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
    /// The programs of these schedulers (the policy's names) can be run.
    Installed(BTreeSet<String>),
    /// A switch that was asked for has been made, and the kernel confirms it.
    Switched {
        /// What runs now.
        to: Candidate,
    },
    /// A switch that was asked for came to nothing.
    SwitchFailed {
        /// What was to run.
        to: Candidate,
        /// Why it does not.
        error: String,
        /// Whose fault that is.
        fault: Fault,
        /// Which scheduler of ours runs instead; `None`: the kernel's own.
        left: Option<Scheduler>,
    },
    /// The scheduler that was running ended by itself, or was ended by somebody else.
    SchedulerExited {
        /// Which.
        scheduler: Scheduler,
        /// How.
        end: End,
    },
    /// The kernel ended the scheduler that was running, for an error; its process may still live.
    SchedulerEjected(End),
    /// What was known of schedulers that failed before the decisions began.
    Remembered(Vec<Failure>),
    /// The program of schedulers was replaced, or a person says that it is well: its failures say
    /// nothing any more.
    Forgiven {
        /// The program, as the policy names it.
        command: String,
    },
    /// Schedulers are not to be trusted: the safe mode begins.
    Distrusted {
        /// Why.
        why: String,
    },
    /// A person says that all is well again: the safe mode ends.
    Trusted,
    /// Something about the policy itself that the user must know, such as an invalid file.
    PolicyProblem {
        /// What.
        error: String,
    },
    /// From now on the decisions are made with another policy than before. As only the processes
    /// that the old one asks about are remembered, all are to be told again.
    PolicyChanged,
    /// What happened to the machine's processes, in order.
    Processes(Vec<ProcessEvent>),
    /// Where the power comes from; `None`: nobody knows.
    Power(Option<Power>),
    /// The active power profile; `None`: no service says one.
    Profile(Option<Profile>),
    /// A person wants this to run, whatever is measured.
    Pinned {
        /// What.
        to: Candidate,
        /// For how long; `None`: until it is unpinned.
        lasts: Option<Duration>,
    },
    /// A person leaves the choice to the policy again.
    Unpinned,
    /// An application wants what runs now to stay.
    Held {
        /// The number of the hold, not in use by another.
        cookie: u32,
        /// Which application.
        application: String,
        /// Why, in its words.
        reason: String,
    },
    /// A hold has ended.
    Released {
        /// Its number.
        cookie: u32,
    },
    /// The machine slept for this long since the last event, as its clocks say.
    Slept(Duration),
    /// The machine is about to sleep or to shut down.
    FallsAsleep,
    /// The machine woke up, or is not shut down after all.
    WakesUp,
}

/// Whose fault it is that a switch came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// That of what was to run.
    New(Cause),
    /// That of what runs: it does not leave.
    Old,
    /// Neither's: somebody else was faster.
    Nobody,
    /// The switch was called off.
    Cancelled,
}

/// Something to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the kernel run this; report it as [`Event::Switched`] or [`Event::SwitchFailed`].
    Switch {
        /// What is to run.
        to: Candidate,
        /// Why, for people.
        reason: String,
        /// A scheduler that auto-ext did not start is to be asked to leave for it.
        replace_foreign: bool,
    },
    /// Call the switch off that is on its way, if it still can be; it is reported all the same.
    Cancel,
}
