//! Real processes are placed and let go, whatever happens in between. They are children of the tests; nothing else is touched.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use auto_ext_service::cpu_list::{self, Cpus};
use nix::errno::Errno;
use tempfile::TempDir;

use super::*;
use crate::groups::{Confines, Key, Processes, tids};

const ROOT: &str = "/";

/// A shell with children that sleep, all in a process group of their own, and free to run everywhere.
struct Family {
    shell: Child,
    pids: Vec<u32>,
}

impl Family {
    fn of(children: usize) -> Self {
        use std::os::unix::process::CommandExt as _;

        let line = match children {
            0 => "exec sleep 1000".to_owned(),
            _ => format!("{}wait", "sleep 1000 & ".repeat(children)),
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).process_group(0);
        let shell = shell.stdin(Stdio::null()).spawn().unwrap();
        let group = shell.id();
        let mut family = Self {
            shell,
            pids: Vec::new(),
        };
        family.wait_for(children + 1);
        for pid in &family.pids {
            // Whoever runs the tests may be placed.
            System.set(*pid, None).unwrap();
        }
        assert_eq!(family.key(), Key::ProcessGroup(group));
        family
    }

    /// Waits until it has so many processes.
    fn wait_for(&mut self, count: usize) {
        while self.pids.len() < count {
            sleep(Duration::from_millis(5));
            let all = Processes::read(Path::new(ROOT), 0).all.into_iter();
            let group = self.shell.id();
            // A child of the shell is still a shell until it has become a sleep.
            let of_it = all.filter(|(_, process)| process.stat.group == group);
            let become_one = |pid: &u32| {
                let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
                *pid == group || comm.is_ok_and(|comm| comm.trim() == "sleep")
            };
            self.pids = of_it.map(|(pid, _)| pid).filter(become_one).collect();
        }
    }

    fn key(&self) -> Key {
        Key::ProcessGroup(self.shell.id())
    }

    fn pin(
        &self,
        ledger: &mut Ledger,
        masks: &mut dyn Masks,
        cpu: u32,
    ) -> Result<usize, NotPinned> {
        self.pin_some(ledger, masks, cpu, usize::MAX)
    }

    fn pin_some(
        &self,
        ledger: &mut Ledger,
        masks: &mut dyn Masks,
        cpu: u32,
        most: usize,
    ) -> Result<usize, NotPinned> {
        let cpus = Cpus::from([cpu]);
        let (root, key) = (Path::new(ROOT), self.key());
        pin(root, ledger, masks, &key, &self.pids, &cpus, most)
    }

    /// Where each of its threads may run.
    fn allowed(&self) -> Vec<Cpus> {
        let tids = tids(Path::new(ROOT), &self.pids, 1000).unwrap();
        tids.into_iter().map(allowed).collect()
    }

    fn is_free(&self) -> bool {
        self.allowed()
            .iter()
            .all(|allowed| *allowed == everywhere())
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for pid in &self.pids {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(*pid).unwrap());
            // It may have ended.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.shell.wait();
    }
}

fn allowed(tid: u32) -> Cpus {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    cpu_list::parse(list.unwrap()).unwrap()
}

/// Where a process of this one's cgroup may run that nobody placed.
fn everywhere() -> Cpus {
    let this = Processes::one(Path::new(ROOT), std::process::id()).unwrap();
    Confines::read(Path::new(ROOT)).of(&this.cgroup).unwrap()
}

/// Of the CPUs that there are, one, so that whoever is placed there is not free.
fn one_cpu() -> u32 {
    let all = everywhere();
    assert!(all.len() > 1, "the tests need two CPUs");
    *all.first().unwrap()
}

fn other_cpu() -> u32 {
    *everywhere().last().unwrap()
}

fn undo(directory: &TempDir) -> Restored {
    let Some(ledger) = Ledger::existing(directory.path()).unwrap() else {
        return Restored::default();
    };
    let restored = restore(Path::new(ROOT), &ledger, &mut System);
    assert!(restored.failed.is_empty(), "{restored:?}");
    ledger.close().unwrap();
    restored
}

/// The kernel, up to a call that never comes back.
struct Dies {
    left: usize,
}

impl Masks for Dies {
    fn set(&mut self, tid: u32, cpus: Option<&Cpus>) -> Result<(), Errno> {
        self.left = self.left.checked_sub(1).ok_or(Errno::EIO)?;
        System.set(tid, cpus)
    }
}

#[test]
fn a_group_is_placed_and_let_go() {
    let family = Family::of(3);
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    assert_eq!(family.pin(&mut ledger, &mut System, one_cpu()).unwrap(), 4);
    assert_eq!(family.allowed(), vec![Cpus::from([one_cpu()]); 4]);
    // Another placement, as in trials, and the same once more.
    assert_eq!(
        family.pin(&mut ledger, &mut System, other_cpu()).unwrap(),
        4
    );
    assert_eq!(
        family.pin(&mut ledger, &mut System, other_cpu()).unwrap(),
        0
    );
    drop(ledger);
    assert_eq!(undo(&directory).restored.len(), 4);
    assert!(family.is_free());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn no_more_are_placed_at_once_than_may_be_and_the_others_later() {
    let family = Family::of(3);
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    for placed in [3, 1, 0] {
        let pinned = family.pin_some(&mut ledger, &mut System, one_cpu(), 3);
        assert_eq!(pinned.unwrap(), placed);
    }
    assert_eq!(family.allowed(), vec![Cpus::from([one_cpu()]); 4]);
    drop(ledger);
    undo(&directory);
    assert!(family.is_free());
}

#[test]
fn whoever_dies_at_any_step_leaves_nothing_that_is_not_undone_later() {
    let family = Family::of(3);
    // Two placements of four threads are eight steps.
    for steps in 0..8 {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(directory.path()).unwrap();
        let mut dies = Dies { left: steps };
        let first = family.pin(&mut ledger, &mut dies, one_cpu());
        let died = first.and_then(|_| family.pin(&mut ledger, &mut dies, other_cpu()));
        assert!(matches!(died, Err(NotPinned::Refused { .. })), "{died:?}");
        assert_eq!(family.is_free(), steps == 0);
        drop(ledger);
        undo(&directory);
        assert!(family.is_free(), "after {steps} steps");
    }
}

#[test]
fn whoever_dies_while_undoing_is_followed_by_another() {
    let family = Family::of(3);
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    family.pin(&mut ledger, &mut System, one_cpu()).unwrap();
    let half = restore(Path::new(ROOT), &ledger, &mut Dies { left: 2 });
    assert_eq!((half.restored.len(), half.failed.len()), (2, 2));
    assert!(!family.is_free());
    drop(ledger);
    undo(&directory);
    assert!(family.is_free());
}

#[test]
fn what_a_placed_process_starts_is_let_go_too() {
    let directory = tempfile::tempdir().unwrap();
    let begin = directory.path().join("begin");
    let mut line = Command::new("sh");
    let script = format!(
        "while ! test -e {}; do sleep 0.01; done; sleep 1000 & setsid sleep 1000",
        begin.display()
    );
    line.args(["-c", &script]);
    {
        use std::os::unix::process::CommandExt as _;
        line.process_group(0);
    }
    let shell = line.stdin(Stdio::null()).spawn().unwrap();
    let mut family = Family {
        pids: vec![shell.id()],
        shell,
    };
    System.set(family.shell.id(), None).unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    family.pin(&mut ledger, &mut System, one_cpu()).unwrap();
    drop(ledger);
    fs::write(&begin, "").unwrap();
    // One in its process group, and one that is known only by its parent.
    let parent = family.shell.id();
    let sleepers = || -> Vec<u32> {
        let all = Processes::read(Path::new(ROOT), 0).all.into_iter();
        let children = all.filter(|(_, process)| process.stat.parent == parent);
        let asleep = |pid: &u32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words == b"sleep\x001000\0"
        };
        children.map(|(pid, _)| pid).filter(asleep).collect()
    };
    while sleepers().len() < 2 {
        sleep(Duration::from_millis(5));
    }
    family.pids.extend(sleepers());
    assert_eq!(family.allowed(), vec![Cpus::from([one_cpu()]); 3]);
    let restored = undo(&directory);
    assert!(
        family
            .pids
            .iter()
            .all(|pid| restored.restored.contains(pid)),
        "{restored:?}"
    );
    assert!(family.is_free());
}

#[test]
fn what_somebody_else_placed_is_neither_placed_nor_let_go() {
    let family = Family::of(1);
    let theirs = Cpus::from([other_cpu()]);
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    System.set(family.pids[1], Some(&theirs)).unwrap();
    let refused = family.pin(&mut ledger, &mut System, one_cpu());
    assert!(
        matches!(refused, Err(NotPinned::Foreign(tid)) if tid == family.pids[1]),
        "{refused:?}"
    );
    assert!(ledger.changes().is_empty());
    // And one that is placed by somebody else while it is placed by us.
    System.set(family.pids[1], None).unwrap();
    family.pin(&mut ledger, &mut System, one_cpu()).unwrap();
    System.set(family.pids[1], Some(&theirs)).unwrap();
    drop(ledger);
    let restored = undo(&directory);
    assert_eq!(restored.foreign, [family.pids[1]].into());
    assert_eq!(allowed(family.pids[1]), theirs);
    assert_eq!(allowed(family.pids[0]), everywhere());
}

#[test]
fn a_number_that_is_somebody_elses_by_now_is_not_touched() {
    let (ours, theirs) = (Family::of(0), Family::of(0));
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    ours.pin(&mut ledger, &mut System, one_cpu()).unwrap();
    let placed = Cpus::from([one_cpu()]);
    System.set(theirs.pids[0], Some(&placed)).unwrap();
    // As if the process that was placed had ended, and its number were that of another.
    let change = ledger.changes().first().unwrap().clone();
    ledger
        .record([Change {
            pid: theirs.pids[0],
            tid: theirs.pids[0],
            pid_began: 1,
            tid_began: 1,
            ..change
        }])
        .unwrap();
    drop(ledger);
    let restored = undo(&directory);
    assert!(!restored.restored.contains(&theirs.pids[0]), "{restored:?}");
    assert!(restored.unclear.contains(&theirs.pids[0]), "{restored:?}");
    assert_eq!(allowed(theirs.pids[0]), placed);
    assert!(ours.is_free());
}

#[test]
fn who_has_ended_is_no_reason_to_fail() {
    let directory = tempfile::tempdir().unwrap();
    {
        let family = Family::of(0);
        let mut ledger = Ledger::open(directory.path()).unwrap();
        assert_eq!(family.pin(&mut ledger, &mut System, one_cpu()).unwrap(), 1);
    }
    assert_eq!(undo(&directory).restored.len(), 0);
}

fn change(tid: u32) -> Change {
    Change {
        group: Key::Cgroup("/system.slice/a\"b.service".to_owned()),
        pid: 7,
        pid_began: 70,
        tid,
        tid_began: 80,
        cpus: [0, 1, 2, 9].into(),
    }
}

#[test]
fn what_is_written_is_read_but_for_a_line_that_was_not_written_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("affinity.jsonl");
    let mut ledger = Ledger::open(directory.path()).unwrap();
    ledger.record([change(8)]).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    ledger.record([change(8), change(9)]).unwrap();
    drop(ledger);
    let both = fs::read_to_string(&path).unwrap();
    assert_eq!(both.lines().count(), 2, "{both}");
    for torn in whole.len()..both.len() {
        fs::write(&path, &both[..torn]).unwrap();
        let mut ledger = Ledger::open(directory.path()).unwrap();
        assert_eq!(*ledger.changes(), [change(8)].into());
        ledger.record([change(9)]).unwrap();
        drop(ledger);
        assert_eq!(fs::read_to_string(&path).unwrap(), both);
    }
}

#[test]
fn a_file_that_somebody_else_has_or_wrote_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("affinity.jsonl");
    let mut ledger = Ledger::open(directory.path()).unwrap();
    let second = Ledger::existing(directory.path());
    assert!(matches!(second, Err(LedgerError::InUse(_))), "{second:?}");
    ledger.record([change(8)]).unwrap();
    drop(ledger);
    let good = fs::read_to_string(&path).unwrap();
    for wrong in [
        "{}",
        &good.trim_end().replace("0-2,9", "9-2"),
        &good.trim_end().replace("tid", "xid"),
    ] {
        fs::write(&path, format!("{good}{wrong}\n")).unwrap();
        let error = Ledger::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("affinity.jsonl:2: "), "{error}");
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert!(matches!(
        Ledger::open(directory.path()),
        Err(LedgerError::File { .. })
    ));
    fs::remove_file(&path).unwrap();
    assert!(Ledger::existing(directory.path()).unwrap().is_none());
}

#[test]
fn nobody_is_not_placed() {
    assert_eq!(System.set(0, None), Err(Errno::ESRCH));
    assert_eq!(System.set(u32::MAX, None), Err(Errno::ESRCH));
}
