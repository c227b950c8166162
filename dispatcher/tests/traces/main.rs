//! What the shipped policy makes of real loads: traces recorded in the test machine, each with four
//! seconds of idleness, six of a load and four of idleness. Record them anew with
//!
//!     cargo xtask vm -- /usr/libexec/auto-ext/system-tests traces

#![expect(clippy::unwrap_used, reason = "a test speaks to its runner")]

use std::path::Path;
use std::time::Duration;

use auto_ext_dispatcher::trace::replay::{Change, Replay, Summary};
use auto_ext_dispatcher::trace::{Entry, Header, Reader};
use auto_ext_policy::Policy;
use auto_ext_signals::Signals;

/// Each trace, the class of its load and what is to run.
const TRACES: [(&str, &str, &str); 7] = [
    ("cpu", "cpu", "kernel"),
    ("parallel", "parallel", "kernel"),
    ("direct-io", "io", "kernel"),
    ("buffered-io", "io", "kernel"),
    ("network", "network", "cosmos"),
    ("memory", "memory", "kernel"),
    ("interactive", "interactive", "bpfland-low-latency"),
];

/// A load that maps memory, computes on it and unmaps it (stress-ng --vm with each of its methods); in an emulated machine
/// one pass can take longer than the levels look back.
const IN_PASSES: &str = "memory-in-passes";

/// When the load begins and when it ends.
const BEGINS: Duration = Duration::from_secs(4);
const ENDS: Duration = Duration::from_secs(10);
/// How long it may take until the class of a load is known, where programs need a while to start in an
/// emulated machine, and until its end is.
const KNOWN_WITHIN: Duration = Duration::from_millis(1500);
const IDLE_WITHIN: Duration = Duration::from_secs(3);

fn shipped() -> Policy {
    Policy::parse("policies.yaml", include_str!("../../../policies.yaml")).unwrap()
}

fn read(name: &str) -> (Header, Vec<Entry>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/traces/{name}.jsonl"));
    let mut reader = Reader::open(&path).unwrap();
    let header = reader.header().clone();
    let entries: Result<Vec<_>, _> = reader.by_ref().collect();
    assert_eq!(reader.cut_off(), None);
    (header, entries.unwrap())
}

fn replay(policy: &Policy, name: &str) -> (Vec<Change>, Summary) {
    let mut replay = Replay::new(policy);
    let entries = read(name).1.into_iter();
    let changes = entries.flat_map(|entry| replay.apply(entry)).collect();
    (changes, replay.summary().clone())
}

#[test]
fn each_load_gets_its_class_in_time_and_no_other() {
    let policy = shipped();
    for (name, class, _) in TRACES {
        let (mut changes, _) = replay(&policy, name);
        changes.dedup_by(|second, first| second.class == first.class);
        let classes: Vec<_> = changes.iter().map(|change| change.class.as_str()).collect();
        assert_eq!(classes, ["idle", class, "idle"], "{name}");
        let expected = [(BEGINS, KNOWN_WITHIN), (ENDS, IDLE_WITHIN)];
        for (change, (from, within)) in changes[1..].iter().zip(expected) {
            let known = (from..from + within).contains(&change.at);
            assert!(known, "{name}: {} at {:?}", change.class, change.at);
        }
    }
}

#[test]
fn each_load_gets_its_scheduler_with_one_switch() {
    let policy = shipped();
    for (name, _, scheduler) in TRACES {
        let (changes, summary) = replay(&policy, name);
        let mut desired: Vec<_> = changes.iter().map(|change| change.desired.name()).collect();
        desired.dedup();
        if scheduler == "kernel" {
            assert_eq!(desired, ["kernel"], "{name}");
            assert_eq!(summary.switches, 0, "{name}");
        } else {
            assert_eq!(desired, ["kernel", scheduler, "kernel"], "{name}");
            // It stays for its time, which is longer than the trace.
            assert_eq!(summary.switches, 1, "{name}");
            assert_eq!(changes.last().unwrap().runs.name(), scheduler, "{name}");
        }
        assert_eq!(summary.cancelled, 0, "{name}");
    }
}

#[test]
fn a_load_that_alternates_between_two_classes_does_not_alternate_between_schedulers() {
    let (changes, summary) = replay(&shipped(), IN_PASSES);
    let classes: Vec<_> = changes.iter().map(|change| change.class.as_str()).collect();
    assert_eq!(classes, ["idle", "cpu", "memory", "cpu", "memory", "idle"]);
    assert_eq!((summary.switches, summary.cancelled), (0, 0));

    let rules = "
version: 1
rules:
  - {class: memory, when: {mem: high}, use: [beerland, kernel]}
  - {class: cpu, when: {cpu: high}, use: [flash, kernel]}
  - {class: idle, use: [kernel]}
";
    let (_, summary) = replay(&Policy::parse("F", rules).unwrap(), IN_PASSES);
    // The scheduler of the first class comes in although the second class came a moment before, and stays for its time. By then the
    // load is over.
    assert_eq!((summary.switches, summary.cancelled), (2, 0));
}

/// So that a trace shows what this version would measure. Where it does not, either the signals
/// changed unawares, or the traces are to be recorded anew.
#[test]
fn the_signals_are_what_the_counters_amount_to() {
    for name in TRACES.map(|(name, ..)| name).into_iter().chain([IN_PASSES]) {
        let (header, entries) = read(name);
        for pair in entries.windows(2) {
            let [Some(before), Some(after)] = [pair[0].totals, pair[1].totals] else {
                panic!("{name}: every window has its counters");
            };
            let again = Signals::between(&before, &after, &header.machine).unwrap();
            let recorded = pair[1].signals.unwrap();
            for ((signal, again), (_, recorded)) in again.iter().zip(recorded.iter()) {
                let (again, recorded) = (again.unwrap(), recorded.unwrap());
                let at = pair[1].at_us;
                assert!(
                    (again - recorded).abs() < 1e-6,
                    "{name} at {at}: {signal} {recorded} is now {again}"
                );
            }
        }
    }
}
