//! How a switch ended.

use auto_ext_core::{Cause, End, Fault};
use auto_ext_policy::{Candidate, Scheduler};

use crate::process::SchedulerProcess;

/// How a switch ended.
#[derive(Debug)]
pub struct Outcome {
    /// The scheduler of ours that runs now.
    pub running: Option<SchedulerProcess>,
    /// The old scheduler, and how it ended by itself instead of being stopped.
    pub crashed: Option<(Scheduler, End)>,
    /// That was before the new one came: there was none for a while.
    pub died: bool,
    /// What was to run.
    pub to: Candidate,
    /// What was done, or why `to` does not run.
    pub result: Result<Done, Failure>,
}

/// A switch that was made.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// Microseconds in which the kernel said `disabled` between two schedulers of ours; 0 when one of
    /// the two is the kernel's own.
    pub gap_us: u64,
    /// Why it could not be a hot one.
    pub cold_because: Option<String>,
}

/// Why a switch came to nothing, and whose fault that is.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong, for people.
    pub error: String,
    /// Whose fault that is, by which it is decided what is tried next.
    pub fault: Fault,
}

impl Done {
    pub(super) fn hot(gap_us: u64) -> Self {
        Self {
            gap_us,
            cold_because: None,
        }
    }

    pub(super) fn cold(gap_us: u64, why: String) -> Self {
        Self {
            gap_us,
            cold_because: Some(why),
        }
    }
}

impl Failure {
    pub(super) fn of(fault: Fault, error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            fault,
        }
    }

    /// The failure of a scheduler that ended before it was permitted to attach.
    pub(super) fn not_loaded(end: End) -> Self {
        let cause = match end.cause {
            cause @ (Cause::Killed | Cause::OutOfMemory) => cause,
            _ => Cause::NotLoaded,
        };
        Self::of(Fault::New(cause), end.text)
    }

    /// The failure of a scheduler that ended after it was permitted to attach.
    pub(super) fn ended(end: End) -> Self {
        Self::of(Fault::New(end.cause), end.text)
    }
}
