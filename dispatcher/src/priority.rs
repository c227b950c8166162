//! The weight of processes while a switch waits for them.
//!
//! Between two schedulers every moment counts, and beside many busy tasks each step of a switch
//! would wait for its turn. The nice value is raised for these moments only.

use rustix::io;
use rustix::process::{Pid, getpriority_process, setpriority_pgrp, setpriority_process};

/// The nice value of what a switch waits for.
const HURRY: i32 = -20;

/// Our own process in a hurry, until this is dropped.
pub(crate) struct Hurry {
    before: Option<i32>,
}

impl Hurry {
    /// Begins.
    pub(crate) fn begin() -> Self {
        let before = getpriority_process(None).ok();
        note(setpriority_process(None, HURRY));
        Self { before }
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            note(setpriority_process(None, before));
        }
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
