//! The right to a CPU of processes and threads while a switch waits for them.
//!
//! Between two schedulers every moment counts, and beside many busy tasks each step of a switch
//! would wait for its turn. It is raised for these moments only.

use nix::errno::Errno;
use nix::libc::{
    SCHED_DEADLINE, SCHED_FIFO, SCHED_RESET_ON_FORK, SCHED_RR, pid_t, sched_getscheduler,
    sched_param, sched_setscheduler,
};
use rustix::io;
use rustix::process::{Pid, setpriority_pgrp};

/// The nice value of what a switch waits for.
const HURRY: i32 = -20;

/// This thread, for the kernel.
const SELF: pid_t = 0;
/// What whoever goes first runs as; its children do not.
const FIRST: i32 = SCHED_FIFO | SCHED_RESET_ON_FORK;

/// A thread that goes before all that is not realtime work, until this is dropped. It must not be busy for long.
#[must_use]
pub(crate) struct First {
    thread: pid_t,
    before: i32,
}

impl First {
    /// This thread.
    pub(crate) fn this() -> Option<Self> {
        Self::of(SELF)
    }

    /// A thread of a scheduler that is let in: attaching is done by it, and until Linux 7 without any more
    /// right to a CPU than it has.
    pub(crate) fn of(thread: pid_t) -> Option<Self> {
        // SAFETY: the call takes a number.
        let before = unsafe { sched_getscheduler(thread) };
        Errno::result(before)
            .and_then(|before| match before & !SCHED_RESET_ON_FORK {
                // It goes first already.
                SCHED_FIFO | SCHED_RR | SCHED_DEADLINE => Err(Errno::EALREADY),
                _ => set(thread, FIRST, 1).map(|()| Self { thread, before }),
            })
            // The switch then takes its turn like any other work.
            .inspect_err(|error| tracing::debug!(%error, "a thread stays as it is"))
            .ok()
    }
}

impl Drop for First {
    fn drop(&mut self) {
        // It may have ended, or given itself something else.
        // SAFETY: the call takes a number.
        if unsafe { sched_getscheduler(self.thread) } == FIRST {
            let _ = set(self.thread, self.before, 0);
        }
    }
}

fn set(thread: pid_t, policy: i32, priority: i32) -> nix::Result<()> {
    let parameters = sched_param {
        sched_priority: priority,
    };
    // SAFETY: the call reads the structure.
    let set = unsafe { sched_setscheduler(thread, policy, &raw const parameters) };
    Errno::result(set).map(drop)
}

/// Puts all threads of the process group `group` in a hurry.
pub(crate) fn hurry(group: Pid) {
    note(setpriority_pgrp(Some(group), HURRY));
}

/// Gives all threads of the process group `group` the weight of any other.
pub(crate) fn take_your_time(group: Pid) {
    note(setpriority_pgrp(Some(group), 0));
}

fn note(set: io::Result<()>) {
    if let Err(error) = set {
        // The switch then takes its turn like any other work.
        tracing::debug!(%error, "a priority stays as it is");
    }
}
