//! The cgroup of one scheduler: what it has used, what is in it, and ending that.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auto_ext_service::lock::lock;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid};

use crate::pidfd::Pidfd;

/// The cgroups of schedulers whose processes had not ended yet when they were to be removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Left(Arc<Mutex<Vec<PathBuf>>>);

/// A scheduler's cgroup, which ends with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    left: Left,
}

impl Left {
    /// Removes those that can be removed by now.
    pub(super) fn remove(&self) {
        lock(&self.0).retain(|path| is_left(path));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

impl Cgroup {
    /// The one with this directory, which exists.
    pub(super) fn at(path: PathBuf, left: &Left) -> Self {
        let left = left.clone();
        Self { path, left }
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file into which a process writes `0` to enter.
    pub(crate) fn entrance(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))
    }

    /// Whether the kernel ended something in it because it wanted more memory than it may have.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        events
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim() != "0")
    }

    /// How much CPU time all that was in it has used.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(self.path.join("cpu.stat")).ok()?;
        let used = stat
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))?;
        used.trim().parse().ok().map(Duration::from_micros)
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let processes = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        let processes = processes.lines().filter_map(|line| line.parse().ok());
        // 0 is one of another namespace.
        processes.filter(|pid| *pid > 0).collect()
    }

    /// Signals the processes in it that are not in this process group.
    pub(crate) fn signal_outside_group(&self, group: i32, signal: Signal) {
        let is_outside = |pid: &i32| {
            let of = getpgid(Some(Pid::from_raw(*pid)));
            of.is_ok_and(|of| of.as_raw() != group)
        };
        for pid in self.processes().into_iter().filter(is_outside) {
            // Looked at again: its number may have been another's before.
            if let Ok(process) = Pidfd::of_process(pid)
                && self.processes().contains(&pid)
            {
                // It may have ended by itself a moment ago.
                let _ = process.signal(signal);
            }
        }
    }

    /// Ends everything in it.
    pub(crate) fn kill(&self) {
        // Kernels before 5.14 do not have the file; the process group is killed beside this.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
        // What was killed may need a moment.
        if is_left(&self.path) {
            lock(&self.left.0).push(self.path.clone());
        }
    }
}

/// Tries to remove a cgroup; whether it is still there to be removed later.
fn is_left(path: &Path) -> bool {
    fs::remove_dir(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
}
