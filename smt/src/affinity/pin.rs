//! Gives a group CPUs: written down first, then set, thread by thread.

use std::path::Path;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::Cpus;
use nix::errno::Errno;

use crate::groups::{Confines, Key, MAX_THREADS, Process, Processes, TooMany, threads};

use super::ledger::{Change, Ledger, LedgerError};
use super::set::Masks;

/// What was started between a look and the end of setting has inherited where it may run, or is seen by the second.
const LOOKS: usize = 2;

/// Why a group has not been given CPUs, or not all of its threads.
#[derive(Debug, thiserror::Error)]
pub enum NotPinned {
    /// It cannot be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There are more threads than may be.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Somebody else has said where a thread may run, or the kernel does not say where.
    #[error("somebody else pinned thread {0}")]
    Foreign(u32),
    /// The cgroup has none of the CPUs any more.
    #[error("thread {0} may not run on these CPUs any more")]
    Moved(u32),
    /// The kernel refuses it.
    #[error("thread {tid} cannot be placed: {error}")]
    Refused {
        /// Which.
        tid: u32,
        /// What it says.
        error: Errno,
    },
}

/// Lets the threads of these processes, which are a group, run on these CPUs alone, so many of them at most. Returns how many that
/// was.
///
/// # Errors
/// When they cannot be. Some may have been changed by then, so that what was written down is to be undone.
pub fn pin(
    root: &Path,
    ledger: &mut Ledger,
    masks: &mut dyn Masks,
    group: &Key,
    pids: &[u32],
    cpus: &Cpus,
    most: usize,
) -> Result<usize, NotPinned> {
    let mut pinned = 0;
    for _ in 0..LOOKS {
        let mut changes = changes(root, ledger, group, pids, cpus)?;
        changes.truncate(most - pinned);
        ledger.record(changes.iter().cloned())?;
        for change in changes {
            let tid = change.tid;
            if !is_still(root, change.pid, tid, change.tid_began) {
                continue;
            }
            match masks.set(tid, Some(cpus)) {
                Ok(()) => pinned += 1,
                Err(Errno::ESRCH) => {}
                Err(Errno::EINVAL) => return Err(NotPinned::Moved(tid)),
                Err(error) => return Err(NotPinned::Refused { tid, error }),
            }
        }
    }
    Ok(pinned)
}

/// What is to be changed, parents before what they started.
fn changes(
    root: &Path,
    ledger: &Ledger,
    group: &Key,
    pids: &[u32],
    cpus: &Cpus,
) -> Result<Vec<Change>, NotPinned> {
    let files = Root::new(root);
    let confines = Confines::read(root);
    // The CPUs that this group was ever given: what it starts has them without being written down.
    let given = ledger.changes().iter();
    let given: Vec<&Cpus> = given
        .filter(|change| change.group == *group)
        .map(|change| &change.cpus)
        .collect();
    let mut changes = Vec::new();
    for pid in pids {
        let Some(Process { stat, cgroup, .. }) = Processes::one(root, *pid) else {
            continue;
        };
        let Some(effective) = confines.of(&cgroup) else {
            return Err(NotPinned::Foreign(*pid));
        };
        let left = MAX_THREADS.saturating_sub(changes.len());
        for (tid, thread) in threads(&files, &[*pid], left)? {
            let allowed = thread.allowed.ok_or(NotPinned::Foreign(tid))?;
            if allowed == *cpus {
                continue;
            }
            let is_free = effective.is_subset(&allowed);
            let is_given = |given: &&Cpus| allowed == **given || allowed == *given & &effective;
            if !is_free && !given.iter().any(is_given) {
                return Err(NotPinned::Foreign(tid));
            }
            changes.push(Change {
                group: group.clone(),
                pid: *pid,
                pid_began: stat.began,
                tid,
                tid_began: thread.stat.began,
                cpus: cpus.clone(),
            });
        }
    }
    changes.sort_by_key(|change| (change.tid_began, change.tid));
    Ok(changes)
}

/// Whether a number is still that of the thread that was looked at.
pub(super) fn is_still(root: &Path, pid: u32, tid: u32, began: u64) -> bool {
    Processes::began(root, pid, tid) == Some(began)
}
