//! Undoes all that was written down, and what was passed on from it: threads and processes that were started meanwhile have
//! inherited where they may run, and are in no list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::groups::{Confines, Key, MAX_THREADS, Processes, threads};
use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::Cpus;

use super::ledger::{Change, Ledger};
use super::pin::is_still;
use super::set::Masks;

/// How often it is looked for what was started meanwhile, at most: until nothing more is found.
const LOOKS: usize = 10;
/// How many threads of a process are looked at: more than are ever placed, as it goes on to start some.
const MOST_THREADS: usize = 16 * MAX_THREADS;
/// How deep it is looked for a process that was placed, from what it started.
const MAX_DEPTH: usize = 32;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Threads that may run everywhere again.
    pub restored: BTreeSet<u32>,
    /// Threads that somebody else has placed since, and that are left alone.
    pub foreign: BTreeSet<u32>,
    /// Processes that may run where a group was placed, of which it is not known why: left alone too.
    pub unclear: BTreeSet<u32>,
    /// Threads that could not be changed, and why.
    pub failed: BTreeMap<u32, Errno>,
}

/// Lets all run everywhere again that was placed.
#[must_use]
pub fn restore(root: &Path, ledger: &Ledger, masks: &mut dyn Masks) -> Restored {
    let mut undo = Undo {
        root,
        files: Root::new(root),
        confines: Confines::read(root),
        changes: ledger.changes(),
        all: ledger.changes().iter().map(|change| &change.cpus).collect(),
        done: BTreeSet::new(),
        result: Restored::default(),
    };
    for look in 0..LOOKS {
        if !undo.look(masks) && look > 0 {
            break;
        }
    }
    undo.note_hidden();
    undo.result
}

struct Undo<'l> {
    root: &'l Path,
    files: Root,
    confines: Confines,
    changes: &'l BTreeSet<Change>,
    /// All CPUs that any group was given.
    all: BTreeSet<&'l Cpus>,
    /// The threads that were dealt with, and when each began.
    done: BTreeSet<(u32, u64)>,
    result: Restored,
}

impl Undo<'_> {
    /// Undoes what is seen now; says whether there was something new.
    fn look(&mut self, masks: &mut dyn Masks) -> bool {
        let processes = Processes::read(self.root, 0);
        let before = self.done.len();
        self.result.unclear.clear();
        for (pid, process) in &processes.all {
            let groups = self.groups_of(&processes, *pid);
            let given = self.changes.iter();
            let given: BTreeSet<&Cpus> = given
                .filter(|change| groups.contains(&change.group))
                .map(|change| &change.cpus)
                .collect();
            let effective = self.confines.of(&process.cgroup);
            if given.is_empty() {
                self.note_if_unclear(*pid, effective.as_ref());
            } else {
                self.process(*pid, &given, effective.as_ref(), masks);
            }
        }
        self.done.len() > before
    }

    /// The groups that a process may have been given CPUs with: as was written down, as it is in one, or as an ancestor was.
    fn groups_of(&self, processes: &Processes, pid: u32) -> BTreeSet<&Key> {
        let mut groups = BTreeSet::new();
        let mut ancestor = pid;
        for _ in 0..MAX_DEPTH {
            let Some(process) = processes.all.get(&ancestor) else {
                break;
            };
            let is_of = |change: &&Change| {
                let itself = change.pid == ancestor && change.pid_began == process.stat.began;
                itself
                    || match &change.group {
                        Key::ProcessGroup(group) => *group == process.stat.group,
                        Key::Cgroup(cgroup) => *cgroup == process.cgroup,
                    }
            };
            let changes = self.changes.iter().filter(is_of);
            groups.extend(changes.map(|change| &change.group));
            ancestor = process.stat.parent;
        }
        groups
    }

    /// Undoes what was done to the threads of a process.
    fn process(
        &mut self,
        pid: u32,
        given: &BTreeSet<&Cpus>,
        effective: Option<&Cpus>,
        masks: &mut dyn Masks,
    ) {
        let Ok(threads) = threads(&self.files, &[pid], MOST_THREADS) else {
            self.result.failed.insert(pid, Errno::E2BIG);
            return;
        };
        for (tid, thread) in threads {
            let key = (tid, thread.stat.began);
            if self.done.contains(&key) {
                continue;
            }
            let is_placed = thread
                .allowed
                .as_ref()
                .is_some_and(|allowed| is_given(allowed, given, effective));
            let is_written = self.changes.iter().any(|change| {
                (change.pid, change.tid, change.tid_began) == (pid, tid, thread.stat.began)
            });
            // The kernel may have let go of a mask of ours, as CPUs went or the cgroup lost them, and take it up again.
            let is_free = thread.allowed.as_ref().is_some_and(|allowed| {
                effective.is_some_and(|effective| effective.is_subset(allowed))
            });
            let is_to_be_undone = is_placed || is_written && is_free;
            if !is_to_be_undone {
                if is_written {
                    self.result.foreign.insert(tid);
                }
                continue;
            }
            self.done.insert(key);
            if !is_still(self.root, pid, tid, thread.stat.began) {
                continue;
            }
            match masks.set(tid, None) {
                Ok(()) => drop(self.result.restored.insert(tid)),
                Err(Errno::ESRCH) => {}
                Err(error) => drop(self.result.failed.insert(tid, error)),
            }
        }
    }

    /// Remembers threads that are there and not seen: /proc may hide the processes of others.
    fn note_hidden(&mut self) {
        for change in self.changes {
            let Ok(pid) = i32::try_from(change.pid) else {
                continue;
            };
            let is_seen = Processes::one(self.root, change.pid).is_some();
            if !is_seen && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH) {
                self.result.failed.insert(change.tid, Errno::EACCES);
            }
        }
    }

    /// Remembers a process that has nothing to do with any group, as far as is seen, and may run only where one was placed: it may
    /// have been started by one and have left it, or somebody may want it there.
    fn note_if_unclear(&mut self, pid: u32, effective: Option<&Cpus>) {
        let first = self.changes.iter().map(|change| change.tid_began).min();
        let Ok(threads) = threads(&self.files, &[pid], MOST_THREADS) else {
            return;
        };
        for thread in threads.values() {
            let Some(allowed) = &thread.allowed else {
                continue;
            };
            let is_narrow = effective.is_some_and(|effective| !effective.is_subset(allowed));
            let is_later = first.is_some_and(|first| thread.stat.began >= first);
            if is_narrow && is_later && is_given(allowed, &self.all, effective) {
                self.result.unclear.insert(pid);
            }
        }
    }
}

/// Whether a thread may run on CPUs that were given, as far as its cgroup has them.
fn is_given(allowed: &Cpus, given: &BTreeSet<&Cpus>, effective: Option<&Cpus>) -> bool {
    given.iter().any(|given| {
        allowed == *given || effective.is_some_and(|effective| *allowed == *given & effective)
    })
}
