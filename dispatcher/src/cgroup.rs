//! A cgroup for each scheduler, with limits for its memory and tasks, below the one that systemd
//! delegates to the service.
//!
//! A scheduler that grows without end is one failed scheduler, not the end of the service or the
//! machine, and what it started ends with it. Where a controller is missing, there is one limit less.
//! Where there is no such cgroup (version 1, started by hand, not delegated) schedulers run beside
//! the daemon, without limits. Both are said once.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::lock::lock;

const ROOT: &str = "/sys/fs/cgroup";
/// Where the daemon itself goes: a cgroup with controllers for its children has no processes.
const DAEMON: &str = "daemon";
/// What the daemon may take: at its start, while it reads the kernel's types, it is 70 MB. Callers on the bus
/// can have it hold large messages.
const DAEMON_MEMORY: u64 = 512 << 20;
/// Which controllers the children of a cgroup have.
const GIVEN: &str = "cgroup.subtree_control";
/// What the cgroups of schedulers begin with.
const SCHEDULER: &str = "scheduler-";
/// A scheduler's maps, of which lavd and layered have most, take some hundred megabytes on the
/// largest machines; one with a leak was seen with 34 GB (scx issue 3340).
const MIN_MEMORY: u64 = 1 << 30;
/// The share of the machine's memory that one may take if that is more.
const MEMORY_SHARE: u64 = 16;
/// Schedulers have a few threads, some one per CPU.
const MIN_TASKS: usize = 256;

/// The controllers that limits need, what they limit, and how one may be missing.
const CONTROLLERS: [(&str, &str, &str); 2] = [
    (
        "memory",
        "memory",
        "cgroup_disable=memory on the kernel's command line, or Delegate= in the unit without memory",
    ),
    (
        "pids",
        "number of tasks",
        "cgroup_disable=pids on the kernel's command line, or Delegate= in the unit without pids",
    ),
];

/// Why schedulers have no cgroups of their own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    #[error("the service's cgroup is not delegated to it (Delegate=yes in its unit)")]
    NotDelegated,
    #[error("{path}: {error}", path = .path.display())]
    File { path: PathBuf, error: io::Error },
}

/// The service's cgroup.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    /// None where there is none.
    service: Option<PathBuf>,
    memory: u64,
    tasks: usize,
    started: Arc<AtomicU32>,
    left: Left,
}

/// The cgroups of schedulers whose processes had not ended yet when they were to be removed.
type Left = Arc<Mutex<Vec<PathBuf>>>;

/// A scheduler's cgroup, which ends with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    left: Left,
}

impl Cgroups {
    /// Takes over the cgroup in which the daemon was started, if it was delegated.
    pub(crate) fn take_over() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let left = Left::default();
        let service = delegated(Path::new(ROOT), &own).and_then(|service| {
            prepare(&service, &left)?;
            for missing in missing_controllers(&service.join(GIVEN)) {
                tracing::warn!("{missing}");
            }
            Ok(service)
        });
        let service = service
            .inspect_err(|error| tracing::warn!("schedulers run without limits: {error}"))
            .ok();
        Self {
            left,
            ..Self::of(service)
        }
    }

    /// What is below `service`; no limits at all without it.
    pub(crate) fn of(service: Option<PathBuf>) -> Self {
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            service,
            memory: (total_memory(&memory) / MEMORY_SHARE).max(MIN_MEMORY),
            tasks: (4 * cpus).max(MIN_TASKS),
            started: Arc::default(),
            left: Left::default(),
        }
    }

    /// Removes what could not be removed when its scheduler ended.
    pub(crate) fn clear_away(&self) {
        lock(&self.left).retain(|path| is_left(path));
    }

    /// The service's own cgroup, in which the daemon and all schedulers are.
    pub(crate) fn service(&self) -> Option<&Path> {
        self.service.as_deref()
    }

    /// A cgroup for one scheduler; none where there are none.
    pub(crate) fn create(&self) -> Option<Cgroup> {
        let service = self.service.as_ref()?;
        let path = loop {
            let number = self.started.fetch_add(1, Ordering::Relaxed);
            let path = service.join(format!("{SCHEDULER}{number}"));
            // What a daemon before left may not have ended yet.
            if !path.exists() {
                break path;
            }
        };
        let limits = [
            ("memory.max", self.memory.to_string()),
            ("memory.oom.group", "1".to_owned()),
            ("pids.max", self.tasks.to_string()),
        ];
        fs::create_dir(&path)
            .map_err(in_file(&path))
            .inspect_err(|error| tracing::warn!("a scheduler runs without limits: {error}"))
            .ok()?;
        for (name, value) in limits {
            let file = path.join(name);
            // What is missing with its controller was said at the start.
            if let Err(error) = write(&file, &value)
                && file.exists()
            {
                tracing::warn!("a scheduler runs without one of its limits: {error}");
            }
        }
        let left = Arc::clone(&self.left);
        Some(Cgroup { path, left })
    }
}

impl Cgroup {
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
            let number = rustix::process::Pid::from_raw(pid);
            let process = number.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            let signal = rustix::process::Signal::from_named_raw(signal as i32);
            // Looked at again: its number may have been another's before.
            if let (Some(process), Some(signal)) = (process, signal)
                && self.processes().contains(&pid)
            {
                // It may have ended by itself a moment ago.
                let _ = pidfd_send_signal(process, signal);
            }
        }
    }

    /// Ends everything in it.
    pub(crate) fn kill(&self) {
        // Kernels before 5.14 do not have the file; the process group is killed beside this.
        let _ = write(&self.path.join("cgroup.kill"), "1");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
        // What was killed may need a moment.
        if is_left(&self.path) {
            lock(&self.left).push(self.path.clone());
        }
    }
}

/// Tries to remove a cgroup; whether it is still there to be removed later.
fn is_left(path: &Path) -> bool {
    fs::remove_dir(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
}

/// The cgroup of the service that `own`, the contents of /proc/self/cgroup, is about.
fn delegated(root: &Path, own: &str) -> Result<PathBuf, CgroupError> {
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .ok_or(CgroupError::NotDelegated)?;
    let path = root.join(path.strip_suffix(&format!("/{DAEMON}")).unwrap_or(path));
    // systemd marks what it delegates.
    let marked = ["user.delegate", "trusted.delegate"]
        .iter()
        .any(|name| has_attribute(&path, name));
    let is_service = path
        .extension()
        .is_some_and(|extension| extension == "service");
    if marked && is_service {
        Ok(path)
    } else {
        Err(CgroupError::NotDelegated)
    }
}

fn has_attribute(path: &Path, name: &str) -> bool {
    let mut value = [0; 1];
    rustix::fs::getxattr(path, name, &mut value).is_ok()
}

/// Moves the daemon aside, clears what a daemon before left, and has limits for what comes.
fn prepare(service: &Path, left: &Left) -> Result<(), CgroupError> {
    let daemon = service.join(DAEMON);
    if !daemon.exists() {
        fs::create_dir(&daemon).map_err(in_file(&daemon))?;
    }
    write(&daemon.join("cgroup.procs"), "0")?;
    for entry in fs::read_dir(service).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCHEDULER) {
            let (path, left) = (entry.path(), Arc::clone(left));
            drop(Cgroup { path, left });
        }
    }
    for (controller, ..) in CONTROLLERS {
        // All in one write would be refused if one of them is missing.
        if let Err(error) = write(&service.join(GIVEN), &format!("+{controller}")) {
            tracing::debug!("no limits by {controller}: {error}");
        }
    }
    let memory = daemon.join("memory.max");
    if memory.exists() {
        write(&memory, &DAEMON_MEMORY.to_string())?;
    }
    Ok(())
}

/// Which limits the service's schedulers are without, and why, a sentence each; before it was started, which they
/// would be.
pub(crate) fn missing_limits(root: &Path) -> Vec<String> {
    let cgroups = root.join("sys/fs/cgroup");
    let service = cgroups.join("system.slice/auto-ext.service");
    let there = cgroups.join("cgroup.controllers");
    if !there.exists() {
        return vec!["schedulers have no limits: there are no cgroups of version 2".to_owned()];
    }
    if service.join(DAEMON).exists() {
        missing_controllers(&service.join(GIVEN)).collect()
    } else if service.exists() {
        let error = CgroupError::NotDelegated;
        vec![format!("schedulers have no limits: {error}")]
    } else {
        missing_controllers(&there).collect()
    }
}

/// The same, by the file that lists the controllers that they have.
fn missing_controllers(list: &Path) -> impl Iterator<Item = String> {
    let there = fs::read_to_string(list).unwrap_or_default();
    let missing = move |controller: &str| !there.split_whitespace().any(|one| one == controller);
    CONTROLLERS
        .into_iter()
        .filter(move |(controller, ..)| missing(controller))
        .map(|(controller, what, why)| {
            format!(
                "schedulers have no limit for their {what}: the cgroup controller {controller} is missing ({why})"
            )
        })
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(in_file(path))
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |error| CgroupError::File { path, error }
}

/// In bytes, of the contents of /proc/meminfo.
fn total_memory(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_delegated_service_is_taken_over() {
        for own in [
            "",
            "1:name=systemd:/\n",
            "0::/\n",
            "0::/user.slice/user-0.slice/session-1.scope\n",
            "0::/system.slice/auto-ext.service\n",
        ] {
            assert!(delegated(Path::new("/nonexistent"), own).is_err(), "{own}");
        }
    }

    #[test]
    fn the_limits_that_are_missing_are_named_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let cgroups = root.join("sys/fs/cgroup");
        let service = cgroups.join("system.slice/auto-ext.service");
        fs::create_dir_all(service.join(DAEMON)).unwrap();
        fs::write(cgroups.join("cgroup.controllers"), "cpu memory").unwrap();
        let list = service.join(GIVEN);
        for (given, missing) in [
            ("memory pids\n", &[][..]),
            ("pids\n", &["memory"]),
            ("cpu memory\n", &["number of tasks"]),
            ("", &["memory", "number of tasks"]),
        ] {
            fs::write(&list, given).unwrap();
            let said = missing_limits(root);
            assert_eq!(said.len(), missing.len(), "{said:?}");
            for (said, missing) in said.iter().zip(missing) {
                assert!(said.contains(&format!("their {missing}:")), "{said}");
            }
        }
        fs::remove_dir(service.join(DAEMON)).unwrap();
        let said = missing_limits(root);
        assert!(
            said[0].contains("Delegate=yes") && said.len() == 1,
            "{said:?}"
        );
        // Before its start, it is the kernel that has it or not.
        fs::remove_dir_all(&service).unwrap();
        let said = missing_limits(root);
        assert!(
            said[0].contains("number of tasks") && said.len() == 1,
            "{said:?}"
        );
        fs::remove_dir_all(&cgroups).unwrap();
        let said = missing_limits(root);
        assert!(said[0].contains("version 2") && said.len() == 1, "{said:?}");
    }

    #[test]
    fn a_service_is_prepared_though_controllers_are_missing() {
        let directory = tempfile::tempdir().unwrap();
        let service = directory.path();
        // Nothing can be written there, as to a controller that the kernel does not have.
        fs::create_dir(service.join(GIVEN)).unwrap();
        prepare(service, &Left::default()).unwrap();
        assert!(!service.join(DAEMON).join("memory.max").exists());
        let cgroups = Cgroups::of(Some(service.to_owned()));
        assert!(cgroups.create().is_some());
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(total_memory("MemTotal:  2048 kB\nMemFree: 1 kB\n"), 2 << 20);
        assert_eq!(total_memory("nonsense"), 0);
    }

    #[test]
    fn a_scheduler_gets_limits_and_where_that_is_impossible_none() {
        assert!(Cgroups::of(None).create().is_none());
        let directory = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::of(Some(directory.path().to_owned()));
        let (one, other) = (cgroups.create().unwrap(), cgroups.create().unwrap());
        assert_ne!(one.path, other.path);
        let memory = fs::read_to_string(one.path.join("memory.max")).unwrap();
        assert!(memory.parse::<u64>().unwrap() >= MIN_MEMORY);
        fs::write(one.path.join("memory.events"), "oom 1\noom_kill 2\n").unwrap();
        fs::write(other.path.join("memory.events"), "oom 0\noom_kill 0\n").unwrap();
        assert!(one.ran_out_of_memory() && !other.ran_out_of_memory());
        let stat = "usage_usec 2500000\nuser_usec 1\n";
        fs::write(one.path.join("cpu.stat"), stat).unwrap();
        assert_eq!(one.cpu_time(), Some(Duration::from_millis(2500)));
        assert_eq!(other.cpu_time(), None);
        fs::write(one.path.join("cgroup.procs"), "12\n345\n").unwrap();
        assert_eq!(one.processes(), [12, 345]);
    }

    #[test]
    fn a_cgroup_whose_processes_take_their_time_is_removed_later() {
        let directory = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::of(Some(directory.path().to_owned()));
        let path = directory.path().join("scheduler-0");
        // What is in it stands for processes: the directory cannot be removed.
        drop(cgroups.create().unwrap());
        assert!(path.exists());
        cgroups.clear_away();
        assert!(path.exists());
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        cgroups.clear_away();
        assert!(!path.exists() && lock(&cgroups.left).is_empty());
    }
}
