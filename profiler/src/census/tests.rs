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

    fn lacks(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
    }

    /// A census whose first scan is done.
    fn census(&self, now: Instant) -> Census {
        let mut census = Census::new(self.0.path());
        while census.due(now).is_some() {
            census.events(now);
        }
        census
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
    let mut census = Census::new(machine.0.path());
    let now = Instant::now();
    assert_eq!(census.due(now), Some(now));
    assert_eq!(census.events(now), []);
    assert_eq!(census.due(now), Some(now));
    assert_eq!(all(&census.events(now)), [1, 7]);
    assert_eq!(census.due(now), None);
    assert_eq!(census.events(now), []);
}

#[test]
fn a_process_starts_changes_and_ends() {
    let now = Instant::now();
    let machine = Machine::with([1]);
    let mut census = machine.census(now);
    machine.runs(7, "wine-preloader");
    census.changed(7);
    census.changed(7);
    assert_eq!(census.events(now), [started(7, "wine-preloader")]);
    machine.runs(7, "game.exe");
    census.changed(7);
    assert_eq!(census.events(now), [started(7, "game.exe")]);
    census.ended(7);
    assert_eq!(census.events(now), [ended(7)]);
}

#[test]
fn what_came_and_went_in_between_is_not_looked_at() {
    let now = Instant::now();
    // Their entries are still there; whoever looked would find them.
    let machine = Machine::with([1, 7]);
    let mut census = Machine::with([1]).census(now);
    census.proc = machine.0.path().to_owned();
    census.changed(7);
    census.ended(7);
    assert_eq!(census.events(now), []);
    assert_eq!(census.due(now), None);
}

#[test]
fn a_scan_does_not_bring_back_what_just_ended() {
    let begin = Instant::now();
    let later = begin + SCAN_EVERY;
    let machine = Machine::with([1, 7]);
    let mut census = machine.census(begin);
    census.lost();
    // For a moment it still looks as if it ran.
    census.ended(7);
    assert_eq!(census.events(later), [ended(7)]);
    machine.lacks(7);
    assert_eq!(all(&census.events(later)), [1]);
}

#[test]
fn a_number_can_be_used_again_at_once() {
    let now = Instant::now();
    let machine = Machine::with([7]);
    let mut census = machine.census(now);
    machine.runs(7, "other");
    census.ended(7);
    census.changed(7);
    assert_eq!(census.events(now), [ended(7), started(7, "other")]);
}

#[test]
fn one_call_looks_at_a_bounded_number_of_processes() {
    let now = Instant::now();
    let machine = Machine::with([]);
    let mut census = machine.census(now);
    for pid in 1..=LOOKS + 1 {
        machine.runs(pid, "many");
        census.changed(pid);
    }
    assert_eq!(census.events(now).len(), LOOKS as usize);
    assert_eq!(census.due(now), Some(now));
    assert_eq!(census.events(now), [started(LOOKS + 1, "many")]);
    assert_eq!(census.due(now), None);
}

#[test]
fn lost_numbers_cost_one_scan_a_second() {
    let begin = Instant::now();
    let machine = Machine::with([1, 7]);
    let mut census = machine.census(begin);
    machine.lacks(7);
    machine.runs(8, "new");
    census.lost();
    census.lost();
    assert_eq!(census.due(begin), Some(begin + SCAN_EVERY));
    assert_eq!(census.events(begin), []);
    assert_eq!(census.events(begin + SCAN_EVERY), []);
    assert_eq!(all(&census.events(begin + SCAN_EVERY)), [1, 8]);
    assert_eq!(census.due(begin + SCAN_EVERY), None);
    // The scan found that it is gone.
    census.ended(7);
    assert_eq!(census.events(begin + SCAN_EVERY), []);
}

#[test]
fn a_scan_in_parts_keeps_up_with_what_happens() {
    let now = Instant::now();
    let many = 2 * LOOKS;
    let machine = Machine::with(1..=many);
    let mut census = Census::new(machine.0.path());
    assert_eq!(census.events(now), []);
    assert_eq!(census.events(now), []);
    // Whichever of these were already looked at: some end, one more comes.
    for pid in 1..many {
        census.ended(pid);
    }
    machine.runs(many + 1, "new");
    census.changed(many + 1);
    let mut events = census.events(now);
    assert_eq!(events.remove(0), started(many + 1, "new"));
    assert_eq!(all(&events), [many, many + 1]);
}

#[test]
fn threads_of_the_kernel_are_never_reported() {
    let now = Instant::now();
    let machine = Machine::with([1]);
    let mut census = machine.census(now);
    let kthread = machine.0.path().join("9");
    fs::create_dir(&kthread).unwrap();
    fs::write(kthread.join("comm"), "kworker/0:1").unwrap();
    fs::write(kthread.join("cmdline"), "").unwrap();
    census.changed(9);
    assert_eq!(census.events(now), []);
    census.ended(9);
    assert_eq!(census.events(now), []);
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
        let mut census = Census::new(machine.0.path());
        let mut running = HashSet::new();
        let mut told = HashSet::new();
        let mut apply = |events: Vec<ProcessEvent>| {
            for event in events {
                match event {
                    ProcessEvent::Started(process) => {
                        told.insert(process.pid);
                    }
                    ProcessEvent::Ended { pid } => {
                        assert!(told.remove(&pid), "the end of what nobody knew");
                    }
                    ProcessEvent::All(all) => {
                        told = all.into_iter().map(|process| process.pid).collect();
                    }
                }
            }
            told.clone()
        };
        for (step, pid) in steps {
            match step {
                0 if running.insert(pid) => {
                    machine.runs(pid, "program");
                    census.changed(pid);
                }
                1 if running.remove(&pid) => {
                    machine.lacks(pid);
                    census.ended(pid);
                }
                // The record of this one is lost.
                2 if running.insert(pid) => {
                    machine.runs(pid, "program");
                    census.lost();
                }
                _ => {
                    now += Duration::from_millis(300);
                    apply(census.events(now));
                }
            }
        }
        while let Some(due) = census.due(now) {
            now = due;
            apply(census.events(now));
        }
        apply(census.events(now));
        prop_assert_eq!(apply(Vec::new()), running);
    }
}
