//! A cgroup for each scheduler, with limits for its memory and tasks, below the one that systemd
//! delegates to the service.
//!
//! A scheduler that grows without end is one failed scheduler, not the end of the service or the
//! machine, and what it started ends with it. Where a controller is missing, there is one limit less.
//! Where there is no such cgroup (version 1, started by hand, not delegated) schedulers run beside
//! the daemon, without limits. Both are logged once.

mod delegation;
mod scheduler_cgroup;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub use delegation::missing_limits;
use delegation::{SCHEDULER, delegated, in_file, missing_controllers, prepare, write};
pub(crate) use scheduler_cgroup::Cgroup;
use scheduler_cgroup::Left;

const ROOT: &str = "/sys/fs/cgroup";
/// A scheduler's maps, of which lavd and layered have most, take some hundred megabytes on the
/// largest machines; one with a leak was seen with 34 GB (scx issue 3340).
const MIN_MEMORY: u64 = 1 << 30;
/// The share of the machine's memory that one may take if that is more.
const MEMORY_SHARE: u64 = 16;
/// Schedulers have a few threads, some one per CPU.
const MIN_TASKS: usize = 256;

/// Where schedulers get their cgroups. Copies are of the same.
#[derive(Clone, Debug)]
pub struct Cgroups {
    /// The service's cgroup; `None` where there is none.
    service: Option<PathBuf>,
    /// In bytes, for each scheduler.
    memory: u64,
    tasks: usize,
    started: Arc<AtomicU32>,
    left: Left,
}

impl Cgroups {
    /// Takes over the cgroup in which the daemon was started, if systemd delegated it (`Delegate=memory pids` in
    /// the service's unit): moves the daemon into one of its own below it, and ends what a daemon before left
    /// there. Where that is impossible, schedulers run without limits, which is logged.
    #[must_use]
    pub fn take_over() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let left = Left::default();
        let service = delegated(Path::new(ROOT), &own).and_then(|service| {
            prepare(&service, &left)?;
            for missing in missing_controllers(&service) {
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

    /// Cgroups below `service`, the directory of one that may be written; no cgroups and limits without it.
    #[must_use]
    pub fn of(service: Option<PathBuf>) -> Self {
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

    /// Removes what could not be removed when its scheduler ended; to be called now and then.
    pub fn clear_away(&self) {
        self.left.remove();
    }

    /// The service's own cgroup, in which the daemon and all schedulers are.
    #[must_use]
    pub fn service(&self) -> Option<&Path> {
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
        Some(Cgroup::at(path, &self.left))
    }
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
    use std::time::Duration;

    use super::*;

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
        assert_ne!(one.path(), other.path());
        let memory = fs::read_to_string(one.path().join("memory.max")).unwrap();
        assert!(memory.parse::<u64>().unwrap() >= MIN_MEMORY);
        fs::write(one.path().join("memory.events"), "oom 1\noom_kill 2\n").unwrap();
        fs::write(other.path().join("memory.events"), "oom 0\noom_kill 0\n").unwrap();
        assert!(one.ran_out_of_memory() && !other.ran_out_of_memory());
        let stat = "usage_usec 2500000\nuser_usec 1\n";
        fs::write(one.path().join("cpu.stat"), stat).unwrap();
        assert_eq!(one.cpu_time(), Some(Duration::from_millis(2500)));
        assert_eq!(other.cpu_time(), None);
        fs::write(one.path().join("cgroup.procs"), "12\n345\n").unwrap();
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
        assert!(!path.exists() && cgroups.left.is_empty());
    }
}
