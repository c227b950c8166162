//! Processes with their threads, as /proc shows them at one moment. Owns how much of /proc is read; judges nothing.

use std::collections::BTreeMap;
use std::path::Path;

use auto_ext_service::sanitize::sanitize;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::{self, Cpus};

use super::stat::{Stat, stat};

/// How many threads of all groups together are looked at.
pub const MAX_THREADS: usize = 4096;
/// How many processes are (PID_MAX_LIMIT in include/linux/threads.h is more than any machine that this is for has).
const MAX_PROCESSES: usize = 1 << 16;
/// A page, as the kernel has texts of /proc.
const PAGE: usize = 4096;
/// More than /proc/PID/status and cgroup have.
const MANY_PAGES: usize = 16 * PAGE;
/// A task of the kernel (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// What the kernel says of it.
    pub stat: Stat,
    /// Its cgroup in the unified hierarchy.
    pub cgroup: String,
    /// The path of its program; empty where it may not be read.
    pub program: String,
}

/// A thread of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) stat: Stat,
    /// Where it may run; `None` where that cannot be read.
    pub(crate) allowed: Option<Cpus>,
}

/// All processes but the kernel's own, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes {
    /// When, in ticks since the boot.
    pub at: u64,
    /// The processes.
    pub all: BTreeMap<u32, Process>,
}

/// There are more threads than are to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many threads")]
pub struct TooMany;

impl Processes {
    /// Reads what /proc below `root` shows at a moment, in ticks since the boot. What ends meanwhile is left out.
    #[must_use]
    pub fn read(root: &Path, at: u64) -> Self {
        let root = Root::new(root);
        let pids = root.numbers("proc", MAX_PROCESSES).unwrap_or_default();
        let processes = pids.into_iter();
        Self {
            at,
            all: processes
                .filter_map(|pid| Some((pid, process(&root, pid)?)))
                .collect(),
        }
    }
}

impl Processes {
    /// One process; `None` where there is none, or it is the kernel's own.
    #[must_use]
    pub fn one(root: &Path, pid: u32) -> Option<Process> {
        process(&Root::new(root), pid)
    }

    /// When a thread of a process began, in ticks since the boot; `None` where there is none.
    #[must_use]
    pub fn began(root: &Path, pid: u32, tid: u32) -> Option<u64> {
        let line = Root::new(root).text(&format!("proc/{pid}/task/{tid}/stat"), PAGE)?;
        Some(stat(&line)?.began)
    }
}

fn process(root: &Root, pid: u32) -> Option<Process> {
    let stat = stat(&root.text(&format!("proc/{pid}/stat"), PAGE)?)?;
    if stat.flags & PF_KTHREAD != 0 {
        return None;
    }
    let cgroup = root.text(&format!("proc/{pid}/cgroup"), MANY_PAGES)?;
    let unified = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    let program = root.link(&format!("proc/{pid}/exe")).unwrap_or_default();
    Some(Process {
        stat,
        cgroup: sanitize(unified.unwrap_or_default()),
        program: program.trim_end_matches(" (deleted)").to_owned(),
    })
}

/// The threads of some processes, by their numbers. What ends meanwhile is left out.
///
/// # Errors
/// When there are more than so many.
pub(crate) fn threads(
    root: &Root,
    pids: &[u32],
    most: usize,
) -> Result<BTreeMap<u32, Thread>, TooMany> {
    let mut threads = BTreeMap::new();
    for pid in pids {
        let task = format!("proc/{pid}/task");
        let tids = root.numbers(&task, most + 1).unwrap_or_default();
        for tid in tids {
            let thread = |tid| thread(root, &format!("{task}/{tid}"));
            threads.extend(thread(tid).map(|thread| (tid, thread)));
            if threads.len() > most {
                return Err(TooMany);
            }
        }
    }
    Ok(threads)
}

/// The numbers of the threads of some processes on the machine whose /proc is below `root`.
///
/// # Errors
/// When there are more than so many.
pub fn tids(root: &Path, pids: &[u32], most: usize) -> Result<Vec<u32>, TooMany> {
    let root = Root::new(root);
    let mut all = Vec::new();
    for pid in pids {
        let room = most.saturating_sub(all.len());
        let tids = root.numbers(&format!("proc/{pid}/task"), room + 1);
        all.extend(tids.unwrap_or_default());
        if all.len() > most {
            return Err(TooMany);
        }
    }
    Ok(all)
}

fn thread(root: &Root, path: &str) -> Option<Thread> {
    let stat = stat(&root.text(&format!("{path}/stat"), PAGE)?)?;
    let status = root.text(&format!("{path}/status"), MANY_PAGES)?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Some(Thread {
        stat,
        allowed: allowed.and_then(|list| cpu_list::parse(list).ok()),
    })
}
