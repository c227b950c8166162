//! The loop on a machine that is made up, with counters that are replayed: /proc and /sys are written into a directory, and who
//! sets where threads may run writes that there too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_service::affinity_owner::{AffinityOwner, Process};
use auto_ext_service::cpu_list::{Cpus, List};
use nix::errno::Errno;
use tempfile::TempDir;

use super::counting::Source;
use super::request::Request;
use super::state::{Daemon, NO_SMT, Parts};
use super::status::Status;
use crate::affinity::{Ledger, Masks};
use crate::config::Config;
use crate::core::{Act, Mode, Moment, Outcome};
use crate::counters::Counters;
use crate::counters::replay::Recording;
use crate::groups::Group;
use crate::history::History;
use crate::model::{Combination, Pairwise};
use crate::store::Store;

/// No process of a real machine has such a number.
const FIRST: u32 = 5_000_000;
const JOBS: [&str; 4] = ["a", "b", "c", "d"];
const TICKS: u64 = 100;
/// Windows of a turn.
const TURN: usize = 10;
const CYCLES: u64 = 2_000_000_000;

/// Two cores of two threads, and four services of two threads each that keep a CPU busy.
struct Machine {
    directory: TempDir,
    /// The threads of each process, with the job they are of.
    threads: BTreeMap<u32, (usize, u32)>,
    now: Moment,
}

/// Sets masks in the files.
struct InFiles(PathBuf);

impl Masks for InFiles {
    fn set(&mut self, tid: u32, cpus: Option<&Cpus>) -> Result<(), Errno> {
        let list = cpus.map_or("0-3".to_owned(), |cpus| List(cpus).to_string());
        let pids = fs::read_dir(self.0.join("proc")).unwrap();
        for pid in pids {
            let status = pid.unwrap().path().join(format!("task/{tid}/status"));
            if status.exists() {
                fs::write(status, format!("Cpus_allowed_list:\t{list}\n")).unwrap();
                return Ok(());
            }
        }
        Err(Errno::ESRCH)
    }
}

/// Counters that say what was written down, from the beginning each time that a group is counted.
struct Replayed {
    recording: Recording,
    valid: bool,
}

impl Source for Replayed {
    fn check(&mut self, _cpu: u32) -> Result<(), (&'static str, String)> {
        if self.valid {
            return Ok(());
        }
        Err(("absent", "there are no counters".to_owned()))
    }

    fn open(&mut self, group: &Group, _most: usize) -> Result<(Box<dyn Counters>, usize), String> {
        Ok((Box::new(self.recording.of(&group.job)), 2))
    }
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self {
            directory: tempfile::tempdir().unwrap(),
            threads: BTreeMap::new(),
            now: Duration::from_secs(100_000),
        };
        machine.write("sys/devices/system/cpu/online", "0-3\n");
        for cpu in 0..4 {
            let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            let first = cpu % 2;
            machine.write(&file, &format!("{first},{}\n", first + 2));
        }
        for job in 0..JOBS.len() {
            let pid = FIRST + 10 * u32::try_from(job).unwrap();
            machine.add(pid, pid, job, "0-3");
            machine.add(pid, pid + 1, job, "0-3");
        }
        machine.go_on(0);
        let beside = |good: &str| {
            let all = JOBS.map(|job| (job.to_owned(), if job == good { 0.95 } else { 0.6 }));
            BTreeMap::from(all)
        };
        let pairs = [("a", "c"), ("b", "d"), ("c", "a"), ("d", "b")].map(|(job, good)| {
            let pairwise = Pairwise {
                single: 1.0,
                beside: beside(good),
            };
            (format!("{job}.service"), with_services(pairwise))
        });
        Store::new(&machine.state())
            .keep_pairs(&Combination::from(pairs))
            .unwrap();
        machine
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn run(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    fn owners(&self) -> PathBuf {
        self.directory.path().join("owners")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Adds a thread of a process of a job that may run on these CPUs.
    fn add(&mut self, pid: u32, tid: u32, job: usize, cpus: &str) {
        self.threads.insert(tid, (job, pid));
        let task = format!("proc/{pid}/task/{tid}");
        self.write(
            &format!("{task}/status"),
            &format!("Cpus_allowed_list:\t{cpus}\n"),
        );
        self.write(&format!("{task}/schedstat"), "1000 0 1\n");
        let cgroup = format!("0::/system.slice/{}.service\n", JOBS[job]);
        self.write(&format!("proc/{pid}/cgroup"), &cgroup);
        self.stat(pid, tid);
    }

    /// All have run until now; a process uses a CPU.
    fn go_on(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        for (tid, (_, pid)) in &self.threads {
            self.stat(*pid, *tid);
        }
    }

    fn stat(&self, pid: u32, tid: u32) {
        // Who comes later sleeps, and so does every second thread.
        let used = if tid.is_multiple_of(10) {
            self.now.as_secs() * TICKS
        } else {
            0
        };
        let cpu = pid / 10 % 4;
        let line = format!(
            "{tid} (x) R 1 {pid} 1 0 -1 0 0 0 0 0 {used} 0 0 0 20 0 1 0 {tid} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 {cpu} 0 0 0 0 0\n"
        );
        self.write(&format!("proc/{pid}/task/{tid}/stat"), &line);
        if pid == tid {
            self.write(&format!("proc/{pid}/stat"), &line);
        }
    }

    /// Where a thread may run.
    fn cpus(&self, tid: u32) -> String {
        let (_, pid) = self.threads[&tid];
        let status = self.root().join(format!("proc/{pid}/task/{tid}/status"));
        let text = fs::read_to_string(status).unwrap();
        text.trim()
            .trim_start_matches("Cpus_allowed_list:\t")
            .to_owned()
    }

    fn all_free(&self) -> bool {
        self.threads.keys().all(|tid| self.cpus(*tid) == "0-3")
    }

    fn daemon(&self, gain: f64, act: Act, valid: bool) -> Daemon {
        self.daemon_with(gain, act, valid, Box::new(InFiles(self.root())))
    }

    fn daemon_with(&self, gain: f64, act: Act, valid: bool, masks: Box<dyn Masks>) -> Daemon {
        let mut daemon = Daemon::new(Parts {
            root: self.root(),
            state: self.state(),
            run: self.run(),
            owners: self.owners(),
            config: Config {
                act,
                ..Config::default()
            },
            source: Box::new(Replayed {
                recording: Recording::parse(&recording(gain)).unwrap(),
                valid,
            }),
            masks,
            ticks: TICKS,
            enough: Duration::from_secs(60),
        });
        daemon.begin(self.now);
        daemon
    }

    /// Lets so many seconds pass.
    fn pass(&mut self, daemon: &mut Daemon, seconds: u64) -> Status {
        for _ in 0..seconds {
            self.go_on(1);
            daemon.step(self.now);
        }
        daemon.status(self.now)
    }

    /// Until something is so; for five minutes at most.
    fn until(&mut self, daemon: &mut Daemon, is_so: impl Fn(&Status) -> bool) -> Status {
        for _ in 0..300 {
            let status = self.pass(daemon, 1);
            if is_so(&status) {
                return status;
            }
        }
        panic!("never so: {:?}", daemon.status(self.now));
    }

    /// A daemon that has adopted something.
    fn adopted(&mut self) -> Daemon {
        let mut daemon = self.daemon(0.1, Act::Trial, true);
        self.until(&mut daemon, |status| status.mode == Mode::Active);
        daemon
    }
}

fn with_services(mut pairwise: Pairwise) -> Pairwise {
    let beside = std::mem::take(&mut pairwise.beside).into_iter();
    pairwise.beside = beside
        .map(|(job, ipc)| (format!("{job}.service"), ipc))
        .collect();
    pairwise
}

/// What is counted from the beginning of a trial: found, candidate, found, and the candidate from then on.
fn recording(gain: f64) -> String {
    let mut text = String::new();
    for job in JOBS {
        let (mut cycles, mut instructions, mut time) = (0_u64, 0_u64, 0_u64);
        for window in 0..400 {
            writeln!(
                text,
                r#"{{"group":"{job}.service","cycles":{cycles},"instructions":{instructions},"enabled":{time},"running":{time}}}"#
            )
            .unwrap();
            let is_candidate = (TURN..2 * TURN).contains(&window) || window >= 3 * TURN;
            let noise = 0.001 * f64::from(i32::try_from(window * 7 % 5).unwrap() - 2);
            let speed = 1.0 + noise + if is_candidate { gain } else { 0.0 };
            cycles += CYCLES;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few thousand million"
            )]
            let counted = (speed * CYCLES as f64) as u64;
            instructions += counted;
            time += 2_000_000_000;
        }
    }
    text
}

fn entries(machine: &Machine) -> Vec<Outcome> {
    let history = History::new(&machine.state()).read().unwrap();
    history.into_iter().map(|entry| entry.outcome).collect()
}

#[test]
fn what_is_better_is_adopted_on_all_threads_proves_so_and_is_undone_at_the_end() {
    let mut machine = Machine::new();
    let mut daemon = machine.daemon(0.1, Act::Trial, true);
    let status = machine.pass(&mut daemon, 10);
    assert_eq!(status.mode, Mode::Unavailable, "{status:?}");
    machine.until(&mut daemon, |status| status.mode == Mode::Trial);
    let status = machine.until(&mut daemon, |status| status.mode == Mode::Active);
    assert!((status.gain.unwrap() - 0.1).abs() < 0.01, "{status:?}");
    // a beside c, b beside d.
    let of = |pid: u32| machine.cpus(FIRST + pid);
    assert_eq!([of(0), of(1), of(20)], [of(0), of(0), of(0)]);
    assert_eq!([of(10), of(11), of(30)], [of(10), of(10), of(10)]);
    assert!(
        of(0) != of(10) && ["0,2", "1,3"].contains(&of(0).as_str()),
        "{}",
        of(0)
    );
    let status = machine.pass(&mut daemon, 120);
    assert!(
        status.reason.contains("better than what was found"),
        "{status:?}"
    );
    assert!(matches!(entries(&machine)[..], [Outcome::Adopted { .. }]));
    let metrics = daemon.answer(Request::Metrics, machine.now);
    assert!(
        metrics.contains("auto_ext_smt_pinned_threads 8"),
        "{metrics}"
    );
    daemon.end();
    assert!(machine.all_free() && !machine.run().join("affinity.jsonl").exists());
    assert_eq!(fs::read_dir(machine.owners()).unwrap().count(), 0);
}

#[test]
fn what_gains_nothing_is_not_adopted_and_not_tried_again_soon() {
    let mut machine = Machine::new();
    let mut daemon = machine.daemon(0.0, Act::Trial, true);
    machine.until(&mut daemon, |status| status.mode == Mode::Trial);
    let status = machine.until(&mut daemon, |status| status.mode != Mode::Trial);
    assert_eq!(status.mode, Mode::Idle, "{status:?}");
    assert!(machine.all_free());
    assert!(matches!(entries(&machine)[..], [Outcome::Fruitless { .. }]));
    assert_eq!(Store::new(&machine.state()).fruitless().unwrap().len(), 1);
}

#[test]
fn a_daemon_that_was_killed_at_any_moment_leaves_nothing_that_the_next_does_not_undo() {
    for seconds in [70, 83, 95, 101, 125, 150] {
        let mut machine = Machine::new();
        let mut daemon = machine.daemon(0.1, Act::Trial, true);
        machine.pass(&mut daemon, seconds);
        drop(daemon);
        drop(machine.daemon(0.1, Act::Observe, true));
        assert!(machine.all_free(), "after {seconds} s");
        let claims = fs::read_dir(machine.owners()).map_or(0, Iterator::count);
        assert_eq!(claims, 0, "after {seconds} s");
    }
}

/// Sets masks in the files until the daemon dies in between.
struct Mortal {
    files: InFiles,
    left: u32,
}

impl Masks for Mortal {
    fn set(&mut self, tid: u32, cpus: Option<&Cpus>) -> Result<(), Errno> {
        assert!(self.left > 0, "the daemon dies here");
        self.left -= 1;
        self.files.set(tid, cpus)
    }
}

#[test]
fn a_daemon_that_dies_between_two_changes_leaves_nothing_that_the_next_does_not_undo() {
    // A candidate of eight threads is placed, undone, and placed again.
    for changes in [0, 1, 8, 9, 16, 23] {
        let mut machine = Machine::new();
        let masks = Mortal {
            files: InFiles(machine.root()),
            left: changes,
        };
        let mut daemon = machine.daemon_with(0.1, Act::Trial, true, Box::new(masks));
        let dies = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            machine.pass(&mut daemon, 300);
        }));
        assert!(dies.is_err(), "after {changes} changes");
        drop(daemon);
        drop(machine.daemon(0.1, Act::Observe, true));
        assert!(machine.all_free(), "after {changes} changes");
        let claims = fs::read_dir(machine.owners()).map_or(0, Iterator::count);
        assert_eq!(claims, 0, "after {changes} changes");
    }
}

#[test]
fn of_many_that_join_a_group_ten_a_second_are_placed_at_most() {
    let mut machine = Machine::new();
    let mut daemon = machine.adopted();
    let there = machine.cpus(FIRST);
    let newcomers: Vec<u32> = (0..120).map(|at| FIRST + 1001 + at).collect();
    for pid in newcomers.iter().filter(|pid| !pid.is_multiple_of(10)) {
        machine.add(*pid, *pid, 0, "0-3");
    }
    let placed = |machine: &Machine| {
        let there = |tid: &&u32| **tid > FIRST + 1000 && machine.cpus(**tid) == there;
        machine.threads.keys().filter(there).count()
    };
    let mut before = 0;
    for _ in 0..4 {
        machine.pass(&mut daemon, 5);
        let now = placed(&machine);
        assert!(now - before <= 50, "{before} to {now}");
        before = now;
    }
    assert_eq!(before, 108);
    daemon.end();
    assert!(machine.all_free());
}

#[test]
fn where_a_person_has_placed_a_thread_it_stays_and_its_group_is_left_alone_for_an_hour() {
    let mut machine = Machine::new();
    let mut daemon = machine.adopted();
    InFiles(machine.root())
        .set(FIRST + 11, Some(&Cpus::from([3])))
        .unwrap();
    let status = machine.until(&mut daemon, |status| status.mode != Mode::Active);
    assert_eq!(machine.cpus(FIRST + 11), "3");
    let others = machine.threads.keys().filter(|tid| **tid != FIRST + 11);
    assert!(
        others.clone().all(|tid| machine.cpus(*tid) == "0-3"),
        "{status:?}"
    );
    InFiles(machine.root()).set(FIRST + 11, None).unwrap();
    let status = machine.pass(&mut daemon, 10);
    let alone = status
        .groups
        .iter()
        .filter(|group| group.left_alone.is_some());
    let alone: Vec<&str> = alone.map(|group| group.job.as_str()).collect();
    assert_eq!(alone, ["b.service"]);
}

#[test]
fn a_sched_ext_scheduler_is_made_way_for_at_once_and_for_a_minute_after_it_left() {
    let mut machine = Machine::new();
    let mut daemon = machine.adopted();
    machine.write("sys/kernel/sched_ext/state", "enabled\n");
    machine.write("sys/kernel/sched_ext/root/ops", "bpfland_1.1\n");
    let status = machine.pass(&mut daemon, 1);
    assert_eq!(status.mode, Mode::Yielded, "{status:?}");
    assert!(machine.all_free());
    machine.write("sys/kernel/sched_ext/state", "disabled\n");
    assert_eq!(machine.pass(&mut daemon, 59).mode, Mode::Yielded);
    assert_eq!(machine.pass(&mut daemon, 5).mode, Mode::Idle);
}

#[test]
fn beside_a_scheduler_that_the_configuration_names_groups_stay_placed() {
    let mut machine = Machine::new();
    let mut daemon = machine.adopted();
    daemon.config.with_sched_ext = vec!["bpfland".to_owned()];
    machine.write("sys/kernel/sched_ext/root/ops", "bpfland_1.1\n");
    machine.write("sys/kernel/sched_ext/state", "enabled\n");
    assert_eq!(machine.pass(&mut daemon, 5).mode, Mode::Active);
    machine.write("sys/kernel/sched_ext/root/ops", "bpflander\n");
    assert_eq!(machine.pass(&mut daemon, 5).mode, Mode::Yielded);
}

#[test]
fn as_cpus_go_all_is_undone_and_without_siblings_nothing_is_done() {
    let mut machine = Machine::new();
    let mut daemon = machine.adopted();
    machine.write("sys/devices/system/cpu/online", "0-1\n");
    let status = machine.pass(&mut daemon, 1);
    assert_eq!(
        (status.mode, status.reason.as_str()),
        (Mode::Unavailable, NO_SMT)
    );
    assert!(machine.all_free() && status.groups.is_empty());
    machine.write("sys/devices/system/cpu/online", "0-3\n");
    assert_ne!(machine.pass(&mut daemon, 6).mode, Mode::Unavailable);
}

#[test]
fn in_a_container_nothing_is_done() {
    let mut machine = Machine::new();
    machine.write(".dockerenv", "");
    let mut daemon = machine.daemon(0.1, Act::Trial, true);
    let status = machine.pass(&mut daemon, 200);
    assert_eq!(status.mode, Mode::Unavailable, "{status:?}");
    assert!(status.reason.contains("a container"), "{status:?}");
    assert!(machine.all_free() && !machine.run().exists() && status.groups.is_empty());
}

#[test]
fn who_comes_from_outside_is_placed_with_the_group_and_what_it_starts_stays_there() {
    let mut machine = Machine::new();
    let mut daemon = machine.adopted();
    let there = machine.cpus(FIRST);
    machine.add(FIRST + 5, FIRST + 5, 0, "0-3");
    machine.add(FIRST, FIRST + 2, 0, &there);
    let status = machine.pass(&mut daemon, 6);
    assert_eq!(status.mode, Mode::Active, "{status:?}");
    assert_eq!(machine.cpus(FIRST + 5), there);
    daemon.end();
    assert!(machine.all_free());
}

#[test]
fn what_another_service_decides_about_is_not_touched() {
    let mut machine = Machine::new();
    let vm = AffinityOwner::new(&machine.owners(), "auto-ext-vm");
    let process = Process::read(&machine.root(), FIRST + 20).unwrap();
    vm.claim(process).unwrap();
    let mut daemon = machine.daemon(0.1, Act::Trial, true);
    machine.until(&mut daemon, |status| status.mode == Mode::Trial);
    let status = machine.until(&mut daemon, |status| status.mode != Mode::Trial);
    let alone = status.groups.iter().find(|group| group.job == "c.service");
    assert!(alone.unwrap().left_alone.is_some(), "{status:?}");
    assert!(machine.all_free());
    assert_eq!(fs::read_dir(machine.owners()).unwrap().count(), 1);
}

#[test]
fn while_another_has_the_ledger_nothing_is_tried_and_no_group_is_left_alone_for_it() {
    let mut machine = Machine::new();
    let free = |machine: &Machine| {
        let claims = fs::read_dir(machine.owners()).map_or(0, Iterator::count);
        machine.all_free() && claims == 0
    };
    let mut daemon = machine.daemon(0.1, Act::Trial, true);
    machine.until(&mut daemon, |status| status.mode == Mode::Trial);
    let ledger = Ledger::open(&machine.run()).unwrap();
    let status = machine.until(&mut daemon, |status| status.mode != Mode::Trial);
    let expected = (Mode::Idle, "another auto-ext-smt is at work");
    assert_eq!((status.mode, status.reason.as_str()), expected);
    let status = machine.pass(&mut daemon, 100);
    assert_eq!((status.mode, status.reason.as_str()), expected);
    let mut groups = status.groups.iter();
    assert!(groups.all(|group| group.left_alone.is_none()), "{status:?}");
    assert!(matches!(entries(&machine)[..], [Outcome::Aborted { .. }]));
    assert!(free(&machine));
    // Whoever comes later does not even begin.
    let mut later = machine.daemon(0.1, Act::Trial, true);
    let status = machine.pass(&mut later, 100);
    assert_eq!((status.mode, status.reason.as_str()), expected);
    drop(later);

    ledger.close().unwrap();
    let status = machine.pass(&mut daemon, 6);
    assert_eq!(status.mode, Mode::Trial, "{status:?}");
    machine.until(&mut daemon, |status| status.mode == Mode::Active);
    daemon.end();
    assert!(free(&machine));
}

#[test]
fn nothing_is_placed_where_it_is_only_observed_or_nothing_is_counted_or_somebody_pauses() {
    for (act, valid, mode) in [
        (Act::Observe, true, Mode::Observe),
        (Act::Trial, false, Mode::Unavailable),
    ] {
        let mut machine = Machine::new();
        let mut daemon = machine.daemon(0.1, act, valid);
        let status = machine.pass(&mut daemon, 200);
        assert_eq!(status.mode, mode);
        assert!(machine.all_free() && !machine.run().exists());
        let counted = status.groups.iter().filter(|group| group.speed.is_some());
        assert_eq!(counted.count() > 0, valid, "{status:?}");
    }
    let mut machine = Machine::new();
    let mut daemon = machine.adopted();
    let said = daemon.answer(Request::Pause(None), machine.now);
    assert!(said.starts_with("paused") && machine.all_free(), "{said}");
    assert_eq!(machine.pass(&mut daemon, 100).mode, Mode::Paused);
    daemon.answer(Request::Resume, machine.now);
    assert_eq!(machine.pass(&mut daemon, 1).mode, Mode::Idle);
}

#[test]
fn a_plan_says_what_would_be_tried_and_changes_nothing() {
    let mut machine = Machine::new();
    let mut daemon = machine.daemon(0.1, Act::Observe, true);
    machine.pass(&mut daemon, 70);
    let plan: serde_json::Value =
        serde_json::from_str(&daemon.answer(Request::Plan, machine.now)).unwrap();
    let candidates = plan["candidates"].as_array().unwrap();
    assert_eq!(
        (candidates.len(), plan["mode"].as_str()),
        (1, Some("observe")),
        "{plan}"
    );
    let groups = candidates[0]["groups"].as_array().unwrap();
    let cpus = |job: &str| {
        let group = groups.iter().find(|group| group["job"] == job);
        group.unwrap()["cpus"].clone()
    };
    assert_eq!(cpus("a.service"), cpus("c.service"));
    assert_ne!(cpus("a.service"), cpus("b.service"));
    assert!(machine.all_free());
}

#[test]
fn groups_that_are_more_than_the_cpus_with_those_that_may_not_be_placed_are_left_alone() {
    let mut machine = Machine::new();
    // It was pinned by somebody and is busy too.
    machine.write("proc/5000100/cgroup", "0::/system.slice/pinned.service\n");
    machine.add(FIRST + 100, FIRST + 100, 0, "1");
    machine.write("proc/5000100/cgroup", "0::/system.slice/pinned.service\n");
    let mut daemon = machine.daemon(0.1, Act::Trial, true);
    let status = machine.pass(&mut daemon, 200);
    assert!(
        status.reason.contains("more workers than CPUs"),
        "{status:?}"
    );
    assert!(machine.all_free_but(FIRST + 100));
}

impl Machine {
    /// As processes use CPUs and nothing else does, this is what /proc/stat says.
    fn cpu_times(&self) {
        let mut text = "cpu  0 0 0 0 0 0 0 0 0 0\n".to_owned();
        for cpu in 0..4 {
            let of_it = |tid: &u32| tid.is_multiple_of(10) && tid / 10 % 4 == cpu;
            let now = self.now.as_secs() * TICKS;
            let (busy, idle) = if self.threads.keys().any(of_it) {
                (now, 0)
            } else {
                (0, now)
            };
            writeln!(text, "cpu{cpu} {busy} 0 0 {idle} 0 0 0 0 0 0").unwrap();
        }
        self.write("proc/stat", &text);
    }

    fn end(&mut self, job: usize) {
        let pid = FIRST + 10 * u32::try_from(job).unwrap();
        self.threads.retain(|_, (of, _)| *of != job);
        fs::remove_dir_all(self.root().join(format!("proc/{pid}"))).unwrap();
    }

    fn watched(&mut self, daemon: &mut Daemon, seconds: u64) -> Status {
        for _ in 0..seconds {
            self.cpu_times();
            self.pass(daemon, 1);
            self.cpu_times();
        }
        daemon.status(self.now)
    }

    fn all_free_but(&self, tid: u32) -> bool {
        let mut others = self.threads.keys().filter(|other| **other != tid);
        others.all(|tid| self.cpus(*tid) == "0-3")
    }
}

#[test]
fn a_directory_that_cannot_be_written_places_nothing() {
    let mut machine = Machine::new();
    fs::write(machine.run(), "no directory").unwrap();
    let mut daemon = machine.daemon(0.1, Act::Trial, true);
    machine.pass(&mut daemon, 200);
    assert!(machine.all_free());
    assert!(Path::new(&machine.run()).is_file());
}

#[test]
fn a_machine_of_which_nothing_is_known_learns_who_is_how_fast_alone_and_beside_whom() {
    let mut machine = Machine::new();
    Store::new(&machine.state())
        .keep_pairs(&Combination::new())
        .unwrap();
    let mut daemon = machine.daemon(0.0, Act::Observe, true);
    // a shares a core with c, and b with d, as the kernel has it.
    let status = machine.watched(&mut daemon, 240);
    assert!(status.reason.contains("nothing is known"), "{status:?}");
    machine.end(2);
    machine.end(3);
    let status = machine.watched(&mut daemon, 240);
    let a = &status.groups[0];
    assert_eq!(a.job, "a.service");
    assert!((a.solo.unwrap() - 1.0).abs() < 0.01, "{status:?}");
    let metrics = daemon.answer(Request::Metrics, machine.now);
    assert!(
        metrics.contains(r#"auto_ext_smt_solo_ipc{job="a.service","#),
        "{metrics}"
    );
    daemon.end();
    let seen = Store::new(&machine.state()).seen().unwrap().series();
    let pairs = seen.iter().map(|one| (&*one.job, one.beside.as_deref()));
    let pairs: Vec<_> = pairs.collect();
    let (a, b, c, d) = ("a.service", "b.service", "c.service", "d.service");
    assert_eq!(
        pairs,
        [
            (a, None),
            (a, Some(c)),
            (b, None),
            (b, Some(d)),
            (c, Some(a)),
            (d, Some(b))
        ]
    );
    assert!(seen.iter().all(|one| one.windows.len() >= 3), "{seen:?}");
}
