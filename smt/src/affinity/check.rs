//! Whether a group still runs where it was placed. Changes nothing.

use std::path::Path;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::Cpus;

use crate::groups::{Confines, Key, MAX_THREADS, Process, Processes, TooMany, threads};

use super::ledger::Ledger;

/// What has become of where a group was placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// A thread that somebody else has placed since.
    pub foreign: Option<u32>,
    /// Somebody came from outside, who may still run everywhere.
    pub joined: bool,
}

/// Looks at all threads of these processes, which are a group that was placed on these CPUs.
///
/// # Errors
/// When there are more than are looked at.
pub fn check(
    root: &Path,
    ledger: &Ledger,
    group: &Key,
    pids: &[u32],
    cpus: &Cpus,
) -> Result<Standing, TooMany> {
    let files = Root::new(root);
    let confines = Confines::read(root);
    let mut standing = Standing::default();
    let mut left = MAX_THREADS;
    for pid in pids {
        let Some(Process { cgroup, .. }) = Processes::one(root, *pid) else {
            continue;
        };
        let effective = confines.of(&cgroup);
        let threads = threads(&files, &[*pid], left)?;
        left -= threads.len();
        for (tid, thread) in threads {
            let Some(allowed) = &thread.allowed else {
                continue;
            };
            let confined = effective.as_ref().map(|effective| cpus & effective);
            if allowed == cpus || Some(allowed) == confined.as_ref() {
                continue;
            }
            let is_free = effective
                .as_ref()
                .is_some_and(|effective| effective.is_subset(allowed));
            let was_placed = ledger.changes().iter().any(|change| {
                change.group == *group && (change.tid, change.tid_began) == (tid, thread.stat.began)
            });
            if is_free && !was_placed {
                standing.joined = true;
            } else {
                standing.foreign = Some(tid);
            }
        }
    }
    Ok(standing)
}
