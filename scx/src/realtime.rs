//! The right to a CPU of processes and threads while a switch waits for them.
//!
//! Between two schedulers every moment counts, and beside many busy tasks each step of a switch
//! would wait for its turn. It is raised for these moments only.

use nix::errno::Errno;
// Neither nix nor rustix has these calls.
use nix::libc::{
    SCHED_DEADLINE, SCHED_FIFO, SCHED_RESET_ON_FORK, SCHED_RR, sched_getscheduler, sched_param,
    sched_setscheduler,
};
use nix::unistd::Pid;
// nix does not have this one.
use rustix::process::setpriority_pgrp;

/// The nice value of what a switch waits for.
const BOOSTED: i32 = -20;

/// This thread, for the kernel.
const SELF: i32 = 0;
/// What a raised thread runs as; its children do not.
const REALTIME: i32 = SCHED_FIFO | SCHED_RESET_ON_FORK;

/// A thread that runs before all that is not realtime work, until this is dropped. It must not be busy for
/// long.
#[must_use]
pub(crate) struct RealtimeGuard {
    thread: i32,
    policy_before: i32,
}

impl RealtimeGuard {
    /// This thread; `None` where that is not allowed, or it is a realtime thread already.
    pub(crate) fn this() -> Option<Self> {
        Self::of(SELF)
    }

    /// A thread of a scheduler that is permitted to attach: attaching is done by it, and until Linux 7 without
    /// any more right to a CPU than it has.
    pub(crate) fn of(thread: i32) -> Option<Self> {
        // SAFETY: the call takes a number.
        let before = unsafe { sched_getscheduler(thread) };
        Errno::result(before)
            .and_then(|policy_before| match policy_before & !SCHED_RESET_ON_FORK {
                SCHED_FIFO | SCHED_RR | SCHED_DEADLINE => Err(Errno::EALREADY),
                _ => set_policy(thread, REALTIME, 1).map(|()| Self {
                    thread,
                    policy_before,
                }),
            })
            // The switch then takes its turn like any other work.
            .inspect_err(|error| tracing::debug!(%error, "a thread stays as it is"))
            .ok()
    }
}

impl Drop for RealtimeGuard {
    fn drop(&mut self) {
        // It may have ended, or given itself something else.
        // SAFETY: the call takes a number.
        if unsafe { sched_getscheduler(self.thread) } == REALTIME {
            let _ = set_policy(self.thread, self.policy_before, 0);
        }
    }
}

fn set_policy(thread: i32, policy: i32, priority: i32) -> nix::Result<()> {
    let parameters = sched_param {
        sched_priority: priority,
    };
    // SAFETY: the call reads the structure.
    let set = unsafe { sched_setscheduler(thread, policy, &raw const parameters) };
    Errno::result(set).map(drop)
}

/// Lets all threads of the process group `group` run before others that want the CPU, until [`restore`].
pub(crate) fn boost(group: Pid) {
    set_nice(group, BOOSTED);
}

/// Gives all threads of the process group `group` the weight of any other.
pub(crate) fn restore(group: Pid) {
    set_nice(group, 0);
}

fn set_nice(group: Pid, nice: i32) {
    // None would be our own group.
    let Some(group) = rustix::process::Pid::from_raw(group.as_raw()) else {
        return;
    };
    if let Err(error) = setpriority_pgrp(Some(group), nice) {
        // The switch then takes its turn like any other work.
        tracing::debug!(%error, "a priority stays as it is");
    }
}
