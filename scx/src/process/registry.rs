//! The processes that we started to be schedulers, and whether what the kernel runs is theirs.
//!
//! That is asked of the kernel, never told by a name: a scheduler is that of the process which holds its operations
//! (`struct_ops`). It may be a descendant of ours, as a script may stand before the scheduler. Where the kernel does
//! not say what a process's operations are, those of ours are taken for a scheduler's: we started it to be one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use auto_ext_core::KernelState;
use auto_ext_service::lock::lock;

use crate::struct_ops::{self, Ask};
use crate::sysfs::{SchedExt, Snapshot};

/// How many processes of one scheduler are looked at. It may have more tasks than these, not more processes with
/// operations.
const MAX_PROCESSES: usize = 256;

/// The processes that were started to be schedulers and have not been waited for. Copies are of the same list.
#[derive(Clone, Debug)]
pub struct ProcessRegistry {
    list: Arc<Mutex<List>>,
    /// /proc, but in tests.
    proc: PathBuf,
    ask: Ask,
}

#[derive(Debug, Default)]
struct List {
    children: Vec<Child>,
    /// The last scheduler that was seen to be ours.
    last_active: Option<Active>,
}

/// A process that was started to be a scheduler.
#[derive(Clone, Debug)]
struct Child {
    pid: u32,
    /// In which it and what it starts are.
    cgroup: Option<PathBuf>,
}

/// A scheduler of ours that the kernel runs.
#[derive(Clone, Debug)]
struct Active {
    /// Which enabling it is.
    instance: u64,
    /// By which link of which process.
    link: u32,
    owner: Owner,
}

/// Whose the scheduler is that the kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The registered process, which was started to be a scheduler.
    pub child: u32,
    /// The process that holds the scheduler: the same, or one that it started. 0 when it has ended, and the kernel has
    /// still to end the scheduler.
    pub pid: u32,
}

/// What came of looking for the owner of a scheduler.
#[derive(Clone, Debug)]
enum Found {
    /// It was found before.
    Known(Owner),
    /// By its link.
    Linked(Active),
    /// It is about to have a link.
    Attaching(Owner),
    /// It is that of no process of ours.
    NotOurs,
}

/// Keeps one process registered until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct ProcessGuard {
    registry: ProcessRegistry,
    pid: u32,
}

impl Default for ProcessRegistry {
    fn default() -> Self {
        Self {
            list: Arc::default(),
            proc: "/proc".into(),
            ask: struct_ops::ask,
        }
    }
}

impl ProcessRegistry {
    /// Registers a process, whose cgroup this is, until the returned guard is dropped.
    pub(crate) fn register(&self, pid: u32, cgroup: Option<&Path>) -> ProcessGuard {
        self.lock().children.push(Child {
            pid,
            cgroup: cgroup.map(Path::to_owned),
        });
        ProcessGuard {
            registry: self.clone(),
            pid,
        }
    }

    /// What the kernel runs, and whose it is if it is one of ours. To look into the processes takes milliseconds for a
    /// scheduler that has not been seen before, and CAP_SYS_PTRACE; without that, whatever of ours has operations in
    /// the kernel is taken for the scheduler.
    #[must_use]
    pub fn look(&self, sched_ext: &SchedExt) -> (Snapshot, Option<Owner>) {
        for _ in 0..3 {
            let snapshot = sched_ext.snapshot();
            let active = match self.owner_of(&snapshot) {
                // Looking took a while, in which another may have come.
                Found::Linked(_) | Found::Attaching(_) | Found::NotOurs
                    if sched_ext.snapshot().instance != snapshot.instance =>
                {
                    continue;
                }
                Found::Known(owner) | Found::Attaching(owner) => return (snapshot, Some(owner)),
                Found::NotOurs => return (snapshot, None),
                Found::Linked(active) => active,
            };
            let owner = active.owner;
            self.lock().last_active = Some(active);
            return (snapshot, Some(owner));
        }
        // Schedulers come and go.
        let snapshot = Snapshot {
            state: KernelState::Disabling,
            instance: None,
            enable_seq: sched_ext.enable_seq(),
        };
        (snapshot, None)
    }

    /// Whose scheduler the kernel ran at that moment.
    fn owner_of(&self, snapshot: &Snapshot) -> Found {
        let KernelState::Enabled { ops } = &snapshot.state else {
            return Found::NotOurs;
        };
        // Looking for it takes too long to have others wait for it.
        let (children, last_active) = {
            let list = self.lock();
            (list.children.clone(), list.last_active.clone())
        };
        if let Some(active) = &last_active
            && snapshot.instance == Some(active.instance)
        {
            let mut owner = active.owner;
            if !children.iter().any(|child| child.pid == owner.child) {
                owner.pid = 0;
            }
            return Found::Known(owner);
        }
        // The last one is most likely the one that came last.
        let found =
            |child: &Child| self.owner_among(child, ops, last_active.as_ref(), snapshot.instance);
        let mut found = children.iter().rev().filter_map(found);
        found.next().unwrap_or(Found::NotOurs)
    }

    /// Whether the scheduler called `ops` is that of this process, or of one that it started.
    fn owner_among(
        &self,
        child: &Child,
        ops: &str,
        before: Option<&Active>,
        instance: Option<u64>,
    ) -> Option<Found> {
        for pid in self.processes_of(child) {
            let owner = Owner {
                child: child.pid,
                pid,
            };
            let held = struct_ops::of_process(&self.proc.join(pid.to_string()), self.ask);
            let fitting = held
                .into_iter()
                .filter(|held| held.is_scheduler(ops).unwrap_or(true) && held.may_be_attached());
            for held in fitting {
                let (Some(link), Some(instance)) = (held.link, instance) else {
                    // It has no link yet: it is being attached, to be looked at again.
                    return Some(Found::Attaching(owner));
                };
                // Each scheduler comes by a link of its own: with the last one's, this process has lost its
                // scheduler, and another of that name runs.
                if before.is_none_or(|before| before.link != link) {
                    return Some(Found::Linked(Active {
                        instance,
                        link,
                        owner,
                    }));
                }
            }
        }
        None
    }

    /// It, all that descends from it, and all that is in its cgroup.
    fn processes_of(&self, child: &Child) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut next = vec![child.pid];
        let cgroup = child
            .cgroup
            .as_deref()
            .map(|path| path.join("cgroup.procs"));
        next.extend(numbers(cgroup.as_deref()));
        while let Some(pid) = next.pop() {
            if found.len() >= MAX_PROCESSES || !found.insert(pid) {
                continue;
            }
            let threads = self.proc.join(pid.to_string()).join("task");
            for thread in fs::read_dir(threads).into_iter().flatten().flatten() {
                next.extend(numbers(Some(&thread.path().join("children"))));
            }
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        lock(&self.list)
    }
}

/// The numbers in a file, if there is one.
fn numbers(path: Option<&Path>) -> Vec<u32> {
    let text = path.and_then(|path| fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    let numbers = text.split_whitespace().flat_map(str::parse);
    numbers.take(MAX_PROCESSES).collect()
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        let mut list = self.registry.lock();
        list.children.retain(|child| child.pid != self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::struct_ops::tests::{Process, answer};

    /// A machine: /sys, /proc, and the processes of ours.
    struct Machine {
        sys: tempfile::TempDir,
        proc: tempfile::TempDir,
        registry: ProcessRegistry,
    }

    impl Machine {
        fn new() -> Self {
            let (sys, proc) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::create_dir_all(sys.path().join("kernel/sched_ext")).unwrap();
            let registry = ProcessRegistry {
                list: Arc::default(),
                proc: proc.path().to_owned(),
                ask: answer,
            };
            Self {
                sys,
                proc,
                registry,
            }
        }

        /// The kernel enables a scheduler.
        fn enable(&self, ops: &str) {
            let directory = self.sys.path().join("kernel/sched_ext");
            // Another that is there keeps its number for itself.
            let number = fs::read_dir(&directory).unwrap().count();
            let _ = fs::rename(directory.join("root"), directory.join(number.to_string()));
            fs::create_dir(directory.join("root")).unwrap();
            fs::write(directory.join("root/ops"), ops).unwrap();
            fs::write(directory.join("state"), "enabled\n").unwrap();
        }

        fn owner(&self) -> Option<Owner> {
            let sched_ext = SchedExt::below(self.sys.path());
            self.registry.look(&sched_ext).1
        }

        fn process(&self, pid: u32, file: impl Fn(&Process<'_>)) {
            Process::with(self.proc.path(), pid, file);
        }
    }

    fn owned(child: u32, pid: u32) -> Option<Owner> {
        Some(Owner { child, pid })
    }

    #[test]
    fn a_scheduler_is_that_of_the_process_that_holds_it_whatever_it_is_called() {
        let machine = Machine::new();
        let guard = machine.registry.register(7, None);
        machine.enable("my_sched_1.0");
        assert_eq!(machine.owner(), None);
        machine.process(7, |process| {
            process.link(3, "struct_ops", 30, 31);
            process.map(4, 31, "scheduler my_sched_1.0");
        });
        assert_eq!(machine.owner(), owned(7, 7));
        drop(guard);
        // The kernel has not ended it yet, and nobody else's it is.
        assert_eq!(machine.owner(), owned(7, 0));
        machine.enable("my_sched_1.0");
        assert_eq!(machine.owner(), None);
        let guard = machine.registry.register(7, None);
        machine.enable("other_1.0");
        assert_eq!(machine.owner(), None);
        fs::write(
            machine.sys.path().join("kernel/sched_ext/state"),
            "disabled\n",
        )
        .unwrap();
        assert_eq!(machine.owner(), None);
        drop(guard);
    }

    #[test]
    fn one_behind_a_script_is_ours_by_descent_or_by_cgroup() {
        let machine = Machine::new();
        let cgroup = tempfile::tempdir().unwrap();
        let _guard = machine.registry.register(7, Some(cgroup.path()));
        let threads = machine.proc.path().join("7/task/7");
        fs::create_dir_all(&threads).unwrap();
        fs::write(threads.join("children"), "8 9 ").unwrap();
        machine.process(9, |process| {
            process.link(3, "struct_ops", 30, 31);
            process.map(4, 31, "scheduler cosmos_1.1.7");
        });
        machine.enable("cosmos_1.1.7");
        assert_eq!(machine.owner(), owned(7, 9));
        fs::write(threads.join("children"), "").unwrap();
        machine.enable("cosmos_1.1.7");
        machine.process(9, |process| process.link(3, "struct_ops", 40, 31));
        assert_eq!(machine.owner(), None);
        fs::write(cgroup.path().join("cgroup.procs"), "7\n9\n").unwrap();
        assert_eq!(machine.owner(), owned(7, 9));
    }

    #[test]
    fn it_stays_ours_when_it_loads_itself_again_and_is_not_when_another_of_its_name_comes() {
        let machine = Machine::new();
        let _guard = machine.registry.register(7, None);
        machine.process(7, |process| {
            process.link(3, "struct_ops", 30, 31);
            process.map(4, 31, "scheduler cosmos_1.1.7");
        });
        machine.enable("cosmos_1.1.7");
        assert_eq!(machine.owner(), owned(7, 7));
        // The kernel ended it, its process still holds what it had, and somebody started the same.
        machine.enable("cosmos_1.1.7");
        assert_eq!(machine.owner(), None);
        // It loaded itself again. The kernel enables it before the process has the link.
        fs::remove_file(machine.proc.path().join("7/fd/3")).unwrap();
        machine.process(7, |process| process.map(4, 41, "-scheduler cosmos_1.1.7"));
        assert_eq!(machine.owner(), None);
        machine.process(7, |process| process.map(4, 41, "scheduler cosmos_1.1.7"));
        assert_eq!(machine.owner(), owned(7, 7));
        machine.process(7, |process| process.link(3, "struct_ops", 40, 41));
        assert_eq!(machine.owner(), owned(7, 7));
    }

    #[test]
    fn what_of_ours_cannot_be_asked_about_is_a_scheduler_and_what_schedules_nothing_is_none() {
        let machine = Machine::new();
        let _guard = machine.registry.register(7, None);
        machine.process(7, |process| {
            process.link(3, "struct_ops", 30, 31);
            process.map(4, 31, "other");
            process.link(5, "struct_ops", 32, 33);
            process.map(6, 33, "sub");
        });
        machine.enable("mine");
        assert_eq!(machine.owner(), None);
        machine.process(7, |process| {
            process.link(7, "struct_ops", 40, 41);
            process.map(8, 41, "");
        });
        assert_eq!(machine.owner(), owned(7, 7));
    }
}
