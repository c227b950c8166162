//! What is written is read again, and what else may be in a file does no harm.

use std::io::{self, Write};
use std::sync::Arc;

use auto_ext_policy::{Power, Profile};
use auto_ext_signals::{
    MAX_ANCESTORS, MAX_PROCESSES, Machine, Process, ProcessEvent, Sample, Signal, Signals,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn header() -> Header {
    Header {
        trace: VERSION,
        version: "0.1.0".into(),
        kernel: "6.18.15".into(),
        cpus: 4,
        label: Some("a build".into()),
        started_us: 1_700_000_000_000_000,
        window_ms: 250,
        machine: Machine {
            fault_ns: 512.25,
            ..Machine::default()
        },
        missing: [(Signal::Io, "no BTF".to_owned())].into(),
    }
}

fn window(at_us: u64, dt_us: u64, cpu: f64) -> Entry {
    let mut signals = Signals::default();
    signals.set(Signal::Cpu, Some(cpu));
    Entry {
        at_us,
        dt_us: Some(dt_us),
        signals: Some(signals),
        ..Entry::default()
    }
}

fn process(pid: u32, argv0: &str) -> Process {
    Process {
        pid,
        comm: "make".into(),
        executable: "/usr/bin/make".into(),
        argv0: argv0.into(),
        cgroup: "/user.slice".into(),
        ancestors: Vec::new(),
    }
}

/// Everything that an entry can have.
fn full() -> Entry {
    Entry {
        totals: Some(Sample {
            at_ns: 5,
            cpus: 4,
            ..Sample::default()
        }),
        scheduler: Some("scx_bpfland".into()),
        processes: vec![
            ProcessEvent::All(vec![process(1, "init"), process(2, "\"\\")]),
            ProcessEvent::Started(process(3, "make")),
            ProcessEvent::Ended { pid: 2 },
        ],
        power: Some(Some(Power::Battery)),
        profile: Some(None),
        asleep: Some(false),
        ..window(500_000, 250_000, 0.123_456)
    }
}

fn written(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header()).unwrap();
    for entry in entries {
        writer.write(entry).unwrap();
    }
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, TraceError> {
    Reader::new("F", bytes)?.collect()
}

/// What is said of a trace with these lines after the header.
fn error(lines: &str) -> String {
    let mut bytes = written([]);
    bytes.extend(lines.as_bytes());
    read(&bytes).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_again() {
    let entries = vec![window(250_000, 250_000, 1.0), full()];
    let bytes = written(entries.clone());
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 3);
    let reader = Reader::new("F", &bytes[..]).unwrap();
    assert_eq!(*reader.header(), header());
    let read: Result<Vec<_>, _> = reader.collect();
    assert_eq!(read.unwrap(), entries);
}

#[test]
fn what_did_not_change_takes_no_room() {
    let entry = String::from_utf8(written([window(1, 1, 0.5)])).unwrap();
    assert_eq!(
        entry.lines().last(),
        Some(
            r#"{"at_us":1,"dt_us":1,"signals":{"cpu":0.5,"parallel":null,"contended":null,"io":null,"net":null,"mem":null,"interactive":null}}"#
        )
    );
}

#[test]
fn a_null_is_no_change_but_for_power_and_profile() {
    let mut bytes = written([]);
    bytes.extend(br#"{"at_us":1,"power":null,"asleep":null,"dt_us":null,"signals":null}"#);
    let entry = Entry {
        at_us: 1,
        power: Some(None),
        ..Entry::default()
    };
    assert_eq!(read(&bytes).unwrap(), [entry]);
}

#[test]
fn what_a_newer_version_may_add_is_ignored() {
    let bytes = br#"{"trace":2,"new":[],"version":"9","kernel":"7","cpus":1,"started_us":0,"window_ms":250,"machine":{"fault_ns":1,"huge_fault_ns":1,"new":1}}

{"at_us":1,"dt_us":1,"new":{"a":[null]},"signals":{"gpu":0.5,"cpu":0.5},"totals":{"at_ns":1,"cpus":1,"kernel":{},"new":1}}
"#;
    let entries = read(bytes).unwrap();
    let signals = entries[0].signals.unwrap();
    assert_eq!(signals.get(Signal::Cpu), Some(0.5));
    assert_eq!(signals.get(Signal::Io), None);
}

#[test]
fn a_file_that_is_no_trace_of_this_version_is_refused() {
    let no_trace =
        "F:1: error: this is no trace: its first line is not a JSON object with a number `trace`";
    for (bytes, expected) in [
        ("", "F:1: error: the file is empty"),
        ("version: 1\n", no_trace),
        ("{}", no_trace),
        ("{\"trace\":\"1\"}\n", no_trace),
        (
            "{\"trace\":1,\"all\":\"else\"}\n",
            "F:1: error: the trace has version 1 of the format; this auto-ext reads versions 2 to 3",
        ),
        (
            "{\"trace\":2}\n",
            "F:1: error: column 11: missing field `version`",
        ),
    ] {
        assert_eq!(read(bytes.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let window = r#"{"at_us":9,"dt_us":9,"signals":{"cpu":0}}"#;
    let lines = |line: &str| error(&format!("{window}\n{line}\n"));
    for (line, expected) in [
        ("[", "F:3: error: column 0: EOF while parsing a list"),
        ("{\"at_us\":-1}", "F:3: error: column 11: invalid value"),
        ("{\"at_us\":1e30}", "F:3: error: column 13: invalid type"),
        ("{\"at_us\":NaN}", "F:3: error: column 10: expected value"),
        ("{}", "F:3: error: column 2: missing field `at_us`"),
        (
            "{\"at_us\":8}",
            "F:3: error: `at_us` is 8, but was 9 in a line before: time runs backwards",
        ),
        (
            "{\"at_us\":12,\"dt_us\":4,\"signals\":{}}",
            "F:3: error: `dt_us` is 4: not between 1 and 3, the time since the window before",
        ),
        (
            "{\"at_us\":12,\"dt_us\":0,\"signals\":{}}",
            "F:3: error: `dt_us` is 0: not between",
        ),
        (
            "{\"at_us\":12,\"dt_us\":3}",
            "F:3: error: `dt_us` and `signals` belong together",
        ),
        (
            "{\"at_us\":12,\"dt_us\":3,\"signals\":{\"io\":1.5}}",
            "F:3: error: `io` is 1.5: not between 0 and 1",
        ),
        (
            "{\"at_us\":12,\"dt_us\":3,\"signals\":{\"parallel\":-0.1}}",
            "F:3: error: `parallel` is -0.1: not between 0 and 4194304",
        ),
        (
            "{\"at_us\":12,\"dt_us\":3,\"signals\":{\"cpu\":1e999}}",
            "F:3: error: column 44: number out of range",
        ),
        (
            "{\"at_us\":12,\"power\":\"solar\"}",
            "F:3: error: column 27: unknown variant `solar`",
        ),
        (
            "{\"at_us\":12,\"power\":\"\\u001b[31m\"}",
            "F:3: error: column 32: unknown variant `[31m`",
        ),
    ] {
        let error = lines(line);
        assert!(error.starts_with(expected), "{line}: {error}");
    }
}

#[test]
fn after_an_error_nothing_more_is_read() {
    let mut bytes = written([window(1, 1, 0.5)]);
    bytes.extend(b"{}\n{\"at_us\":1}\n");
    let mut reader = Reader::new("F", &bytes[..]).unwrap();
    assert!(reader.next().unwrap().is_ok());
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn a_trace_that_was_cut_off_is_true_up_to_its_last_full_line() {
    let whole = written([window(1, 1, 0.5), full()]);
    let lines: Vec<usize> = (0..whole.len())
        .filter(|at| whole[*at] == b'\n')
        .map(|at| at + 1)
        .collect();
    for end in lines[0]..=whole.len() {
        let mut reader = Reader::new("F", &whole[..end]).unwrap();
        let entries = reader.by_ref().map(Result::unwrap).count();
        // A line that only lacks its end is a full one.
        let full = lines[1..].iter().filter(|line| **line - 1 <= end).count();
        assert_eq!(entries, full, "{end}");
        let in_a_line = !lines.iter().any(|line| *line == end || *line - 1 == end);
        let expected = in_a_line.then_some(full as u64 + 2);
        assert_eq!(reader.cut_off(), expected, "{end}");
    }
}

#[test]
fn a_line_has_a_greatest_length() {
    let filled = |length: usize| {
        let mut line = b"{\"at_us\":1}".to_vec();
        line.resize(length, b' ');
        [written([]), line, b"\n".to_vec()].concat()
    };
    assert_eq!(read(&filled(MAX_LINE)).unwrap().len(), 1);
    let error = read(&filled(MAX_LINE + 1)).unwrap_err();
    assert!(matches!(error.problem, Problem::TooLong), "{error}");
    let error = read(&vec![b'{'; 2 * MAX_LINE]).unwrap_err();
    assert!(matches!(error.problem, Problem::TooLong), "{error}");
}

#[test]
fn what_is_ignored_may_be_deep() {
    let depth = 1_000_000;
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    let whole = format!("{{\"at_us\":1,\"new\":{open}{close}}}\n");
    assert_eq!(
        read(&[written([]), whole.into()].concat()).unwrap().len(),
        1
    );
    let error = error(&format!("{{\"at_us\":1,\"new\":{open}\n"));
    assert!(error.contains("EOF while parsing a list"), "{error}");
}

#[test]
fn the_number_of_processes_and_their_texts_are_bounded() {
    let most = u32::try_from(MAX_PROCESSES).unwrap();
    let many = |count: u32| {
        (1..=count).map(|pid| Entry {
            at_us: pid.into(),
            processes: vec![ProcessEvent::Started(process(pid, ""))],
            ..Entry::default()
        })
    };
    assert!(read(&written(many(most))).is_ok());
    let error = read(&written(many(most + 1))).unwrap_err();
    assert_eq!(error.line, u64::from(most) + 2);
    assert!(
        matches!(error.problem, Problem::TooManyProcesses),
        "{error}"
    );

    for (length, allowed) in [(MAX_TEXT, true), (MAX_TEXT + 1, false)] {
        let entry = Entry {
            processes: vec![ProcessEvent::All(vec![process(7, &"x".repeat(length))])],
            ..Entry::default()
        };
        assert_eq!(read(&written([entry])).is_ok(), allowed);
    }
}

#[test]
fn more_processes_than_fit_into_a_line_are_spread_over_several() {
    let argv0 = "\"".repeat(MAX_TEXT);
    let all: Vec<_> = (1..=400).map(|pid| process(pid, &argv0)).collect();
    let entry = Entry {
        processes: vec![
            ProcessEvent::Started(process(1000, "x")),
            ProcessEvent::All(all.clone()),
            ProcessEvent::Ended { pid: 400 },
        ],
        ..window(1, 1, 0.5)
    };
    let bytes = written([entry]);
    assert!(
        bytes
            .split(|byte| *byte == b'\n')
            .all(|line| line.len() < MAX_LINE)
    );
    let entries = read(&bytes).unwrap();
    let (last, others) = entries.split_last().unwrap();
    assert!(!others.is_empty() && others.iter().all(|entry| entry.signals.is_none()));
    assert!(entries.iter().all(|entry| entry.at_us == 1));
    assert!(last.signals.is_some());

    let mut events = entries.into_iter().flat_map(|entry| entry.processes);
    assert_eq!(
        events.next(),
        Some(ProcessEvent::Started(process(1000, "x")))
    );
    let Some(ProcessEvent::All(mut found)) = events.next() else {
        panic!("all processes there are come next");
    };
    let mut ended = Vec::new();
    for event in events {
        match event {
            ProcessEvent::Started(process) => found.push(process),
            ProcessEvent::Ended { pid } => ended.push(pid),
            ProcessEvent::All(_) => panic!("they come only once"),
        }
    }
    assert_eq!(found, all);
    assert_eq!(ended, [400]);
}

#[test]
fn texts_are_fit_for_a_terminal() {
    let mut header = header();
    header.label = Some("a\u{1b}[31m\nb".into());
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, &header)
        .unwrap()
        .write(Entry {
            processes: vec![ProcessEvent::Started(process(7, "x\u{9b}y"))],
            ..Entry::default()
        })
        .unwrap();
    let mut reader = Reader::new("F", &bytes[..]).unwrap();
    assert_eq!(reader.header().label.as_deref(), Some("a[31mb"));
    let entry = reader.next().unwrap().unwrap();
    let expected = ProcessEvent::Started(process(7, "xy"));
    assert_eq!(entry.processes, [expected]);
}

/// Takes the number of bytes it is given at once.
#[derive(Default)]
struct Writes(Vec<usize>);

impl Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes.len());
        assert_eq!(bytes.last(), Some(&b'\n'));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_line_is_written_at_once() {
    let mut writes = Writes::default();
    let mut writer = Writer::new(&mut writes, &header()).unwrap();
    for _ in 0..3 {
        writer.write(full()).unwrap();
    }
    assert_eq!(writes.0.len(), 4);
}

/// A process 7 with these ancestors, as a line.
fn with_ancestors(ancestors: Vec<Arc<Process>>) -> Vec<u8> {
    let started = ProcessEvent::Started(Process {
        ancestors,
        ..process(7, "game")
    });
    written([Entry {
        processes: vec![started],
        ..window(1, 1, 0.5)
    }])
}

#[test]
fn ancestors_are_bounded_and_printable() {
    let reaper = process(5, "rea\u{1b}per");
    let nested = Process {
        ancestors: vec![Arc::new(process(3, "steam"))],
        ..reaper.clone()
    };
    let entries = read(&with_ancestors(vec![Arc::new(nested)])).unwrap();
    let ProcessEvent::Started(game) = &entries[0].processes[0] else {
        panic!("{entries:?}");
    };
    assert_eq!(*game.ancestors[0], process(5, "reaper"));
    let reaper = Arc::new(reaper);
    let many = vec![reaper; MAX_ANCESTORS + 1];
    assert_eq!(
        read(&with_ancestors(many)).unwrap_err().to_string(),
        "F:2: error: process 7 has more than 32 ancestors"
    );
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let share = prop::option::of(0.0..=1.0_f64);
    let text = "\\PC{0,12}";
    let process =
        (any::<u32>(), [text; 4]).prop_map(|(pid, [comm, executable, argv0, cgroup])| Process {
            pid,
            comm,
            executable,
            argv0,
            cgroup,
            ancestors: Vec::new(),
        });
    let ancestors = prop::collection::vec(process.clone().prop_map(Arc::new), 0..4);
    let process = (process, ancestors).prop_map(|(process, ancestors)| Process {
        ancestors,
        ..process
    });
    let event = prop_oneof![
        process.clone().prop_map(ProcessEvent::Started),
        any::<u32>().prop_map(|pid| ProcessEvent::Ended { pid }),
        prop::collection::vec(process, 0..4).prop_map(ProcessEvent::All),
    ];
    let window = prop::option::of((1..1_000_000_u64, prop::array::uniform6(share)));
    let power = prop::sample::select(vec![None, Some(None), Some(Some(Power::Ac))]);
    let profile = prop::sample::select(vec![None, Some(None), Some(Some(Profile::PowerSaver))]);
    let processes = prop::collection::vec(event, 0..4);
    (window, processes, power, profile, any::<Option<bool>>()).prop_map(
        |(window, processes, power, profile, asleep)| {
            let mut entry = Entry {
                processes,
                power,
                profile,
                asleep,
                ..Entry::default()
            };
            if let Some((dt, values)) = window {
                let mut signals = Signals::default();
                for (signal, value) in Signal::ALL.into_iter().zip(values) {
                    let rounded = value.map(|value| (value * 1e6).round() / 1e6);
                    signals.set(signal, rounded);
                }
                (entry.dt_us, entry.signals) = (Some(dt), Some(signals));
            }
            entry
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_again(
        mut entries in prop::collection::vec(any_entry(), 0..8),
    ) {
        let mut at = 0;
        for entry in &mut entries {
            at += entry.dt_us.unwrap_or(0);
            entry.at_us = at;
        }
        prop_assert_eq!(read(&written(entries.clone())).unwrap(), entries);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzzing::trace(&bytes);
        crate::fuzzing::trace(&[written([]), bytes].concat());
    }

    #[test]
    fn no_damage_to_a_trace_makes_the_reader_panic(
        edits in prop::collection::vec((any::<Index>(), 0..20_usize, ".{0,6}"), 1..6),
    ) {
        let mut bytes = written([window(1, 1, 0.5), full(), window(600_000, 9, 0.0)]);
        for (at, length, insert) in edits {
            let start = at.index(bytes.len());
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, insert.into_bytes());
        }
        crate::fuzzing::trace(&bytes);
    }

    #[test]
    fn no_heap_of_json_makes_the_reader_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\n", "\"at_us\":", "\"dt_us\":", "\"signals\":",
                "\"cpu\":", "\"processes\":", "\"all\":", "\"started\":", "\"ended\":", "\"pid\":",
                "\"power\":", "\"asleep\":", "null", "true", "\"ac\"", "0", "1", "-1", "0.5", "1e999",
                "18446744073709551615", "18446744073709551616", "\"\\ud800\"", "\"\u{1b}\"", "\\",
            ]),
            0..40,
        ),
    ) {
        crate::fuzzing::trace(&[written([]), parts.concat().into_bytes()].concat());
    }
}
