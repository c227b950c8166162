//! The weight of processes and threads while a switch waits for them.
//!
//! Between two schedulers every moment counts, and beside many busy tasks each step of a switch
//! would wait for its turn. It is raised for these moments only.

use nix::errno::Errno;
use rustix::io;
use rustix::process::{Pid, setpriority_pgrp};

/// The nice value of what a switch waits for.
const HURRY: i32 = -20;

/// Lets this thread go before all that is not realtime work, until it ends. It must not be busy for long.
pub(crate) fn go_first() {
    let lowest = nix::libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads the structure, and concerns this thread alone.
    let set = unsafe { nix::libc::sched_setscheduler(0, nix::libc::SCHED_FIFO, &raw const lowest) };
    if let Err(error) = Errno::result(set) {
        // The switch then takes its turn like any other work.
        tracing::debug!(%error, "a thread stays as it is");
    }
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
