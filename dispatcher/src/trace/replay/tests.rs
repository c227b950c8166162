//! Tables and properties of replays.

use Load::{Busy, Idle, Net};
use auto_ext_policy::Power;
use auto_ext_signals::{Process, ProcessEvent, Signal, Signals};
use proptest::prelude::*;

use super::*;

const WINDOW_US: u64 = 250_000;

/// `net` high: cosmos, `cpu` high: flash, a game: lavd; on battery: flash.
fn policy() -> Policy {
    let text = "
version: 1
rules:
  - {class: game, when: {process: game}, use: [lavd, kernel]}
  - {class: battery, when: {power: battery}, use: [flash, kernel]}
  - {class: network, when: {net: high}, use: [cosmos, kernel]}
  - {class: cpu, when: {cpu: high}, use: [flash, kernel]}
  - {class: idle, use: [kernel]}
stability: {min_run: 10s}
";
    Policy::parse("F", text).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Load {
    Idle,
    Busy,
    Net,
}

fn signals(load: Load) -> Signals {
    let (cpu, net) = match load {
        Idle => (0.0, 0.0),
        Busy => (1.0, 0.0),
        Net => (0.5, 0.5),
    };
    let mut signals = Signals::default();
    signals.set(Signal::Cpu, Some(cpu));
    signals.set(Signal::Net, Some(net));
    signals
}

/// Windows with these loads, each for so many seconds.
fn windows(loads: &[(Load, u64)]) -> Vec<Entry> {
    let windows = loads
        .iter()
        .flat_map(|(load, seconds)| (0..seconds * 1_000_000 / WINDOW_US).map(|_| signals(*load)));
    (1..)
        .zip(windows)
        .map(|(number, signals)| Entry {
            at_us: number * WINDOW_US,
            dt_us: Some(WINDOW_US),
            signals: Some(signals),
            ..Entry::default()
        })
        .collect()
}

/// The entry at that second.
fn at(entries: &mut [Entry], second: u64) -> &mut Entry {
    entries
        .iter_mut()
        .find(|entry| entry.at_us == second * 1_000_000)
        .unwrap()
}

fn process(pid: u32, comm: &str) -> Process {
    Process {
        pid,
        comm: comm.into(),
        argv0: comm.into(),
        ..Process::default()
    }
}

/// Each change as `milliseconds class runs desired`, and what it amounts to.
fn replay(entries: Vec<Entry>) -> (Vec<String>, Summary) {
    let policy = policy();
    let mut replay = Replay::new(&policy);
    let mut changes = Vec::new();
    for entry in entries {
        let line = |change: Change| {
            let Change {
                at,
                class,
                runs,
                desired,
                ..
            } = change;
            format!("{} {class} {runs} {desired}", at.as_millis())
        };
        changes.extend(replay.apply(entry).into_iter().map(line));
    }
    (changes, replay.summary().clone())
}

#[test]
fn a_load_gets_its_scheduler_once_it_is_loaded_and_keeps_it_for_its_time() {
    let (changes, summary) = replay(windows(&[(Idle, 4), (Busy, 6), (Idle, 20)]));
    assert_eq!(
        changes,
        [
            "250 idle kernel kernel",
            // Half a second for the level; then it loads.
            "4500 cpu kernel flash",
            "6500 cpu flash flash",
            // A quarter of a second for the level, and one for the class.
            "11250 idle flash kernel",
            // It has run for 10 s.
            "16500 idle kernel kernel",
        ]
    );
    let seconds = |names: [(&str, u64); 2]| {
        names
            .map(|(name, ms)| (name.to_owned(), Duration::from_millis(ms)))
            .into()
    };
    let mut classes: BTreeMap<_, _> = seconds([("cpu", 6750), ("idle", 23_000)]);
    classes.insert("none".to_owned(), Duration::from_millis(250));
    assert_eq!(
        summary,
        Summary {
            time: Duration::from_secs(30),
            windows: 120,
            classes,
            schedulers: seconds([("flash", 10_000), ("kernel", 20_000)]),
            switches: 2,
            cancelled: 0,
        }
    );
}

#[test]
fn one_scheduler_runs_while_the_next_is_loading() {
    let (changes, summary) = replay(windows(&[(Busy, 20), (Net, 5)]));
    let last: Vec<_> = changes.iter().rev().take(2).collect();
    assert_eq!(
        last,
        ["22250 network cosmos cosmos", "20250 network flash cosmos"]
    );
    assert_eq!(summary.switches, 2);
}

#[test]
fn a_scheduler_that_is_no_longer_wanted_while_it_loads_is_cancelled() {
    let (changes, summary) = replay(windows(&[(Idle, 2), (Busy, 1), (Idle, 20)]));
    assert_eq!(
        changes,
        [
            "250 idle kernel kernel",
            "2500 cpu kernel flash",
            "4250 idle kernel kernel",
        ]
    );
    assert_eq!((summary.switches, summary.cancelled), (0, 1));
}

#[test]
fn what_came_to_nothing_is_tried_again_only_after_a_while() {
    let (changes, _) = replay(windows(&[(Busy, 1), (Idle, 2), (Busy, 20)]));
    let runs = changes
        .iter()
        .find(|change| change.ends_with("flash flash"));
    // Called off at 2.25 s, tried again five seconds later.
    assert_eq!(runs.unwrap(), "9250 cpu flash flash");
}

#[test]
fn programs_and_power_count_from_their_moment() {
    let mut entries = windows(&[(Idle, 40)]);
    at(&mut entries, 3).processes = vec![
        ProcessEvent::All(vec![process(7, "sh"), process(8, "x")]),
        ProcessEvent::Started(process(9, "game")),
    ];
    at(&mut entries, 20).processes = vec![ProcessEvent::Ended { pid: 9 }];
    at(&mut entries, 10).power = Some(Some(Power::Battery));
    at(&mut entries, 30).power = Some(None);
    let (changes, _) = replay(entries);
    assert_eq!(
        changes,
        [
            "250 idle kernel kernel",
            "3000 game kernel lavd",
            "5000 game lavd lavd",
            "21000 battery lavd flash",
            "23000 battery flash flash",
            "31000 idle flash kernel",
            "33000 idle kernel kernel",
        ]
    );
}

#[test]
fn nothing_is_switched_around_sleep() {
    let mut entries = windows(&[(Idle, 2), (Busy, 30)]);
    at(&mut entries, 2).asleep = Some(true);
    at(&mut entries, 10).asleep = Some(false);
    let (changes, _) = replay(entries);
    assert_eq!(
        changes,
        [
            "250 idle kernel kernel",
            // What is measured on the way to sleep does not count.
            "10250 cpu kernel flash",
            // Five seconds after it woke up, and two to load.
            "17000 cpu flash flash",
        ]
    );
}

#[test]
fn what_ran_during_the_recording_makes_no_difference() {
    let mut entries = windows(&[(Idle, 4), (Busy, 6)]);
    let expected = replay(entries.clone());
    for entry in &mut entries {
        entry.scheduler = Some("scx_rusty".into());
    }
    assert_eq!(replay(entries), expected);
}

#[test]
fn without_windows_nothing_is_known() {
    let entry = Entry {
        at_us: u64::MAX,
        ..Entry::default()
    };
    let (changes, summary) = replay(vec![entry]);
    assert_eq!(changes, [""; 0]);
    assert_eq!(summary.time, Duration::from_micros(u64::MAX));
    assert_eq!(summary.classes.len(), 1);
}

fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    let value = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64];
    let event = prop_oneof![
        (0..4_u32, prop::sample::select(vec!["game", "sh"]))
            .prop_map(|(pid, comm)| ProcessEvent::Started(process(pid, comm))),
        (0..4_u32).prop_map(|pid| ProcessEvent::Ended { pid }),
    ];
    let rarely = |weight, of| prop::option::weighted(weight, of);
    let entry = (
        1..=3_000_000_u64,
        prop::option::weighted(0.9, (value.clone(), value)),
        prop::collection::vec(event, 0..2),
        prop::option::weighted(0.1, prop::sample::select(vec![None, Some(Power::Battery)])),
        rarely(0.05, any::<bool>()),
    );
    prop::collection::vec(entry, 0..300).prop_map(|entries| {
        let mut at_us = 0;
        let mut all = Vec::new();
        for (dt_us, values, processes, power, asleep) in entries {
            at_us += dt_us;
            let mut entry = Entry {
                at_us,
                processes,
                power,
                asleep,
                ..Entry::default()
            };
            if let Some((cpu, net)) = values {
                let mut signals = Signals::default();
                signals.set(Signal::Cpu, Some(cpu));
                signals.set(Signal::Net, Some(net));
                (entry.dt_us, entry.signals) = (Some(dt_us), Some(signals));
            }
            all.push(entry);
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_trace_and_policy_give_the_same_replay(entries in any_entries()) {
        prop_assert_eq!(replay(entries.clone()), replay(entries));
    }

    #[test]
    fn a_trace_that_was_written_and_read_gives_the_same_replay(entries in any_entries()) {
        let header = crate::trace::Header {
            trace: crate::trace::VERSION,
            version: String::new(),
            kernel: String::new(),
            cpus: 1,
            label: None,
            started_us: 0,
            window_ms: 250,
            machine: auto_ext_signals::Machine::default(),
            missing: BTreeMap::new(),
        };
        let mut bytes = Vec::new();
        let mut writer = crate::trace::Writer::new(&mut bytes, &header).unwrap();
        for entry in &entries {
            writer.write(entry.clone()).unwrap();
        }
        let read: Result<Vec<_>, _> = crate::trace::Reader::new("F", &bytes[..]).unwrap().collect();
        prop_assert_eq!(replay(read.unwrap()), replay(entries));
    }

    #[test]
    fn the_times_add_up_and_changes_come_in_order(entries in any_entries()) {
        let policy = policy();
        let mut replay = Replay::new(&policy);
        let mut before = None;
        for entry in entries {
            let end = Duration::from_micros(entry.at_us);
            for change in replay.apply(entry) {
                prop_assert!(change.at <= end);
                if let Some(before) = before.replace(change.clone()) {
                    prop_assert!(before.at <= change.at);
                    let what = |change: &Change| {
                        (change.class.clone(), change.runs.clone(), change.desired.clone())
                    };
                    prop_assert_ne!(what(&before), what(&change));
                }
            }
            prop_assert_eq!(replay.summary().time, end);
        }
        let summary = replay.summary();
        prop_assert_eq!(summary.classes.values().sum::<Duration>(), summary.time);
        prop_assert_eq!(summary.schedulers.values().sum::<Duration>(), summary.time);
    }
}
