use std::fs;

use proptest::prelude::*;

use super::*;

/// A made-up /proc.
struct Machine(tempfile::TempDir);

impl Machine {
    fn with(pids: impl IntoIterator<Item = u32>) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for pid in pids {
            machine.runs(pid, "program");
        }
        machine
    }

    fn runs(&self, pid: u32, comm: &str) {
        let process = self.0.path().join(pid.to_string());
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("comm"), comm).unwrap();
        fs::write(process.join("cmdline"), comm).unwrap();
    }

    fn has_parent(&self, pid: u32, parent: u32) {
        let stat = format!("{pid} (any) S {parent} 1 1");
        fs::write(self.0.path().join(format!("{pid}/stat")), stat).unwrap();
    }

    fn lacks(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
    }

    /// A tracker whose first scan is done.
    fn tracker(&self, now: Instant) -> ProcessTracker {
        let mut tracker = ProcessTracker::new(self.0.path());
        while tracker.due(now).is_some() {
            tracker.events(now);
        }
        tracker
    }
}

fn started(pid: u32, name: &str) -> ProcessEvent {
    ProcessEvent::Started(Process {
        pid,
        comm: name.into(),
        argv0: name.into(),
        ..Process::default()
    })
}

fn ended(pid: u32) -> ProcessEvent {
    ProcessEvent::Ended { pid }
}

/// The numbers in the only event, which says that they are all.
fn all(events: &[ProcessEvent]) -> Vec<u32> {
    let [ProcessEvent::All(all)] = events else {
        panic!("{events:?} is not all");
    };
    let mut all: Vec<u32> = all.iter().map(|process| process.pid).collect();
    all.sort_unstable();
    all
}

#[test]
fn it_begins_with_all_that_runs() {
    let machine = Machine::with([1, 7]);
    let mut tracker = ProcessTracker::new(machine.0.path());
    let now = Instant::now();
    assert_eq!(tracker.due(now), Some(now));
    assert_eq!(tracker.events(now), []);
    assert_eq!(tracker.due(now), Some(now));
    assert_eq!(all(&tracker.events(now)), [1, 7]);
    assert_eq!(tracker.due(now), None);
    assert_eq!(tracker.events(now), []);
}

#[test]
fn a_process_starts_changes_and_ends() {
    let now = Instant::now();
    let machine = Machine::with([1]);
    let mut tracker = machine.tracker(now);
    machine.runs(7, "wine-preloader");
    tracker.changed(7);
    tracker.changed(7);
    assert_eq!(tracker.events(now), [started(7, "wine-preloader")]);
    machine.runs(7, "game.exe");
    tracker.changed(7);
    assert_eq!(tracker.events(now), [started(7, "game.exe")]);
    tracker.ended(7);
    assert_eq!(tracker.events(now), [ended(7)]);
}

#[test]
fn what_came_and_went_in_between_is_not_looked_at() {
    let now = Instant::now();
    // Their entries are still there; whoever looked would find them.
    let machine = Machine::with([1, 7]);
    let mut tracker = Machine::with([1]).tracker(now);
    tracker.proc = machine.0.path().to_owned();
    tracker.changed(7);
    tracker.ended(7);
    assert_eq!(tracker.events(now), []);
    assert_eq!(tracker.due(now), None);
}

#[test]
fn a_scan_does_not_bring_back_what_just_ended() {
    let begin = Instant::now();
    let later = begin + SCAN_EVERY;
    let machine = Machine::with([1, 7]);
    let mut tracker = machine.tracker(begin);
    tracker.lost();
    // For a moment it still looks as if it ran.
    tracker.ended(7);
    assert_eq!(tracker.events(later), [ended(7)]);
    machine.lacks(7);
    assert_eq!(all(&tracker.events(later)), [1]);
}

#[test]
fn a_number_can_be_used_again_at_once() {
    let now = Instant::now();
    let machine = Machine::with([7]);
    let mut tracker = machine.tracker(now);
    machine.runs(7, "other");
    tracker.ended(7);
    tracker.changed(7);
    assert_eq!(tracker.events(now), [ended(7), started(7, "other")]);
}

#[test]
fn one_call_looks_at_a_bounded_number_of_processes() {
    let now = Instant::now();
    let machine = Machine::with([]);
    let mut tracker = machine.tracker(now);
    for pid in 1..=READS + 1 {
        machine.runs(pid, "many");
        tracker.changed(pid);
    }
    assert_eq!(tracker.events(now).len(), READS as usize);
    assert_eq!(tracker.due(now), Some(now));
    assert_eq!(tracker.events(now), [started(READS + 1, "many")]);
    assert_eq!(tracker.due(now), None);
}

#[test]
fn lost_numbers_cost_one_scan_a_second() {
    let begin = Instant::now();
    let machine = Machine::with([1, 7]);
    let mut tracker = machine.tracker(begin);
    machine.lacks(7);
    machine.runs(8, "new");
    tracker.lost();
    tracker.lost();
    assert_eq!(tracker.due(begin), Some(begin + SCAN_EVERY));
    assert_eq!(tracker.events(begin), []);
    assert_eq!(tracker.events(begin + SCAN_EVERY), []);
    assert_eq!(all(&tracker.events(begin + SCAN_EVERY)), [1, 8]);
    assert_eq!(tracker.due(begin + SCAN_EVERY), None);
    // The scan found that it is gone.
    tracker.ended(7);
    assert_eq!(tracker.events(begin + SCAN_EVERY), []);
}

#[test]
fn a_scan_in_parts_keeps_up_with_what_happens() {
    let now = Instant::now();
    let many = 2 * READS;
    let machine = Machine::with(1..=many);
    let mut tracker = ProcessTracker::new(machine.0.path());
    assert_eq!(tracker.events(now), []);
    assert_eq!(tracker.events(now), []);
    // Whichever of these were already looked at: some end, one more comes.
    for pid in 1..many {
        tracker.ended(pid);
    }
    machine.runs(many + 1, "new");
    tracker.changed(many + 1);
    let mut events = tracker.events(now);
    assert_eq!(events.remove(0), started(many + 1, "new"));
    assert_eq!(all(&events), [many, many + 1]);
}

#[test]
fn threads_of_the_kernel_are_never_reported() {
    let now = Instant::now();
    let machine = Machine::with([1]);
    let mut tracker = machine.tracker(now);
    let kthread = machine.0.path().join("9");
    fs::create_dir(&kthread).unwrap();
    fs::write(kthread.join("comm"), "kworker/0:1").unwrap();
    fs::write(kthread.join("cmdline"), "").unwrap();
    tracker.changed(9);
    assert_eq!(tracker.events(now), []);
    tracker.ended(9);
    assert_eq!(tracker.events(now), []);
}

/// The names of what process `pid` descends from, as the last of these events says.
fn ancestors(events: &[ProcessEvent], pid: u32) -> Vec<String> {
    let told = events.iter().rev().find_map(|event| match event {
        ProcessEvent::Started(process) => (process.pid == pid).then_some(process),
        ProcessEvent::All(all) => all.iter().find(|process| process.pid == pid),
        ProcessEvent::Ended { .. } => None,
    });
    let told = told.unwrap_or_else(|| panic!("{events:?} says nothing of {pid}"));
    let names = told.ancestors.iter().map(|ancestor| ancestor.comm.clone());
    names.collect()
}

#[test]
fn ancestors_are_told_only_to_who_asks_for_them() {
    let now = Instant::now();
    let machine = Machine::with([1]);
    machine.runs(7, "launcher");
    machine.has_parent(7, 1);
    let mut tracker = machine.tracker(now);
    machine.runs(8, "game");
    tracker.forked(8, 7);
    tracker.executed(8, b"game");
    assert_eq!(ancestors(&tracker.events(now), 8), [""; 0]);

    tracker.tell_ancestors(true);
    machine.has_parent(8, 7);
    assert_eq!(tracker.due(now), Some(now));
    assert_eq!(tracker.events(now), []);
    assert_eq!(ancestors(&tracker.events(now), 8), ["launcher", "program"]);
    tracker.tell_ancestors(false);
    assert_eq!(tracker.events(now), []);
    assert_eq!(ancestors(&tracker.events(now), 8), [""; 0]);
}

#[test]
fn a_child_descends_from_one_that_ended_before_anybody_looked() {
    let now = Instant::now();
    let machine = Machine::with([1]);
    let mut tracker = machine.tracker(now);
    tracker.tell_ancestors(true);
    while tracker.due(now).is_some() {
        tracker.events(now);
    }
    machine.runs(7, "launcher");
    tracker.forked(7, 1);
    tracker.executed(7, b"launcher");
    tracker.forked(8, 7);
    tracker.executed(8, b"between");
    tracker.forked(9, 8);
    tracker.ended(8);
    tracker.executed(9, b"game");
    machine.runs(9, "game");
    // The one that takes care of orphans.
    machine.has_parent(9, 1);
    let events = tracker.events(now);
    assert_eq!(ancestors(&events, 9), ["between", "launcher", "program"]);
    machine.lacks(7);
    tracker.ended(7);
    tracker.changed(9);
    let events = tracker.events(now);
    assert_eq!(ancestors(&events, 9), ["between", "launcher", "program"]);
    // A scan, for records that were lost, changes nothing about it.
    tracker.lost();
    let later = now + SCAN_EVERY;
    assert_eq!(tracker.events(later), []);
    let events = tracker.events(later);
    assert_eq!(ancestors(&events, 9), ["between", "launcher", "program"]);
}

#[test]
fn what_changes_during_the_first_scan_has_ancestors_when_it_ends() {
    let now = Instant::now();
    let machine = Machine::with([1]);
    let mut tracker = ProcessTracker::new(machine.0.path());
    tracker.tell_ancestors(true);
    assert_eq!(tracker.events(now), []);
    machine.runs(7, "game");
    machine.has_parent(7, 1);
    tracker.forked(7, 1);
    tracker.executed(7, b"game");
    assert_eq!(ancestors(&tracker.events(now), 7), ["program"]);
}

#[test]
fn what_one_leads_to_that_ends_before_the_first_scan_descends_from_it() {
    let now = Instant::now();
    let machine = Machine::with([1]);
    machine.runs(7, "launcher");
    machine.has_parent(7, 1);
    let mut tracker = ProcessTracker::new(machine.0.path());
    tracker.tell_ancestors(true);
    tracker.forked(8, 7);
    tracker.executed(8, b"between");
    tracker.forked(9, 8);
    tracker.ended(8);
    tracker.executed(9, b"game");
    machine.runs(9, "game");
    machine.has_parent(9, 1);
    machine.lacks(7);
    tracker.ended(7);
    for _ in 0..2 {
        let events = tracker.events(now);
        assert_eq!(ancestors(&events, 9), ["between", "launcher", "program"]);
    }
}

#[test]
fn parents_in_a_circle_are_looked_up_once() {
    let machine = Machine::with([7, 8]);
    machine.has_parent(7, 8);
    machine.has_parent(8, 7);
    let mut tracker = ProcessTracker::new(machine.0.path());
    tracker.tell_ancestors(true);
    tracker.forked(9, 7);
    assert!(tracker.lineage.unwrap().ancestors(9).len() <= MAX_ANCESTORS);
}

#[test]
fn no_more_parents_are_looked_up_than_processes_are_read() {
    let now = Instant::now();
    let machine = Machine::with(1..=2 * READS);
    let mut tracker = ProcessTracker::new(machine.0.path());
    tracker.tell_ancestors(true);
    tracker.events(now);
    for parent in 1..=2 * READS {
        tracker.forked(10_000 + parent, parent);
    }
    let lineage = tracker.lineage.as_ref().unwrap();
    let unknown = (1..=2 * READS).filter(|pid| lineage.lacks(*pid)).count();
    assert_eq!(unknown, usize::try_from(READS).unwrap());
    assert!(tracker.wanted);
}

#[test]
fn the_queue_is_bounded() {
    let mut queue = Queue::default();
    for pid in (0..).take(MAX_PROCESSES) {
        assert!(queue.push(pid));
    }
    assert!(queue.push(0) && !queue.push(u32::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens and however often it is asked in between, whoever applies the events
    /// ends up with what runs.
    #[test]
    fn the_events_lead_to_what_runs(steps in prop::collection::vec((0..4_u8, 1..6_u32), 0..60)) {
        let mut now = Instant::now();
        let machine = Machine::with([]);
        let mut tracker = ProcessTracker::new(machine.0.path());
        let mut running = HashSet::new();
        let mut reported = HashSet::new();
        let mut apply = |events: Vec<ProcessEvent>| {
            for event in events {
                match event {
                    ProcessEvent::Started(process) => {
                        reported.insert(process.pid);
                    }
                    ProcessEvent::Ended { pid } => {
                        assert!(reported.remove(&pid), "the end of one that was not reported");
                    }
                    ProcessEvent::All(all) => {
                        reported = all.into_iter().map(|process| process.pid).collect();
                    }
                }
            }
            reported.clone()
        };
        for (step, pid) in steps {
            match step {
                0 if running.insert(pid) => {
                    machine.runs(pid, "program");
                    tracker.changed(pid);
                }
                1 if running.remove(&pid) => {
                    machine.lacks(pid);
                    tracker.ended(pid);
                }
                // The record of this one is lost.
                2 if running.insert(pid) => {
                    machine.runs(pid, "program");
                    tracker.lost();
                }
                _ => {
                    now += Duration::from_millis(300);
                    apply(tracker.events(now));
                }
            }
        }
        while let Some(due) = tracker.due(now) {
            now = due;
            apply(tracker.events(now));
        }
        apply(tracker.events(now));
        prop_assert_eq!(apply(Vec::new()), running);
    }
}
