//! What the fuzz targets in `fuzz/` call: a function for each kind of input that comes from outside.
//! Owned here is what must hold whatever the bytes; how they are found is `fuzz`'s business.
//!
//! Each of them panics, and does nothing else, where something does not hold. The corpora that
//! fuzzing left are gone through by a test here, so that what was found once stays found.

#[cfg(test)]
mod any_policy;
mod requests;

use std::collections::BTreeMap;

use auto_ext_profiler::{Process, ProcessEvent, Signal, Signals};

use crate::policy::{Checked, Circumstances, Policy, Power, Problem, Profile, Warning};
use crate::replay::Replay;
use crate::trace::{Entry, Reader, Writer};

pub use requests::requests;

/// How many lines of a text are taken for processes.
const MAX_PROCESSES: usize = 8;
const SECOND_US: u64 = 1_000_000;

/// A text of a policy gives a policy with which decisions can be made, or problems; these, and what
/// is strange about the policy, have a place in the text, are in its order and fit for a terminal.
pub fn policy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let problems: Vec<Problem> = match Checked::parse("F", text) {
        Ok(Checked {
            policy, warnings, ..
        }) => {
            choose(&policy, text);
            let problem = |warning: &Warning| warning.problem().clone();
            warnings.iter().map(problem).collect()
        }
        Err(error) => {
            assert!(!error.problems().is_empty(), "an error without a problem");
            error.problems().to_vec()
        }
    };
    assert!(problems.is_sorted_by_key(|problem| problem.at));
    // A carriage return alone ends a line too.
    let text = text.replace("\r\n", "\n");
    let lines: Vec<&str> = text.split(['\n', '\r']).collect();
    for Problem { at, message } in problems {
        assert!((1..=lines.len()).contains(&at.line), "{at:?} {message}");
        let columns = lines[at.line - 1].chars().count() + 1;
        assert!((1..=columns).contains(&at.column), "{at:?} {message}");
        assert!(!message.contains(char::is_control), "{at:?} {message}");
    }
}

/// Decisions are made by `policy` in a machine on which all that it may ask for happens, and whose
/// processes are called as the text's lines.
fn choose(policy: &Policy, text: &str) {
    let lines = text.lines().filter(|line| !line.is_empty());
    let processes: Vec<Process> = (1..)
        .zip(lines.take(MAX_PROCESSES))
        .map(|(pid, line)| Process {
            pid,
            comm: line.to_owned(),
            executable: format!("/usr/bin/{line}"),
            argv0: line.to_owned(),
            cgroup: format!("/system.slice/{line}/init"),
        })
        .collect();
    let mut replay = Replay::new(policy);
    let window = |second: u64, value| {
        let mut signals = Signals::default();
        for signal in Signal::ALL {
            signals.set(signal, value);
        }
        Entry {
            at_us: second * SECOND_US,
            dt_us: Some(SECOND_US),
            signals: Some(signals),
            ..Entry::default()
        }
    };
    let entries = [
        window(1, Some(0.0)),
        Entry {
            processes: vec![ProcessEvent::All(processes.clone())],
            power: Some(Some(Power::Battery)),
            profile: Some(Some(Profile::PowerSaver)),
            ..window(100, Some(1.0))
        },
        window(200, None),
        Entry {
            processes: vec![ProcessEvent::All(Vec::new())],
            power: Some(None),
            profile: Some(None),
            ..window(4000, Some(0.0))
        },
    ];
    for entry in entries {
        for change in replay.take_in(entry) {
            let rule = policy.rule(&change.class);
            let named = rule.map_or(&[][..], |rule| &rule.candidates);
            let kernel = crate::policy::Candidate::Kernel;
            assert!(
                named.contains(&change.desired) || change.desired == kernel,
                "{change:?}"
            );
            assert!(!change.reason.contains(char::is_control), "{change:?}");
        }
    }
    let processes: BTreeMap<u32, Process> = processes
        .into_iter()
        .filter(|process| policy.wants(process))
        .map(|process| (process.pid, process))
        .collect();
    let nothing_known = Circumstances {
        levels: auto_ext_profiler::Levels::all(auto_ext_profiler::Level::Unknown),
        processes: &processes,
        power: None,
        profile: None,
    };
    let rule = policy.rule_for(&nothing_known);
    assert!(rule.is_none_or(|rule| rule.when.levels.is_empty()));
}

/// The bytes of a trace give entries, whose time does not run backwards and whose numbers are within
/// their limits, and then at most one error, which has a line of the trace. The entries can be replayed
/// and written, and are read again as they were.
pub fn trace(data: &[u8]) {
    let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let mut reader = match Reader::new("F", data) {
        Ok(reader) => reader,
        Err(error) => return assert_eq!(error.line, 1),
    };
    let policy = Policy::default();
    let mut replay = Replay::new(&policy);
    let (mut entries, mut before) = (Vec::new(), 0);
    for entry in &mut reader {
        match entry {
            Ok(entry) => {
                assert!(entry.at_us >= before);
                before = entry.at_us;
                let values = entry.signals.iter().flat_map(Signals::iter);
                for value in values.filter_map(|(_, value)| value) {
                    assert!(value.is_finite() && value >= 0.0);
                }
                replay.take_in(entry.clone());
                entries.push(entry);
            }
            Err(error) => {
                assert!((2..=lines).contains(&error.line), "{error}");
                assert!(!error.to_string().contains(char::is_control), "{error}");
            }
        }
    }
    assert!(reader.next().is_none(), "an entry after the end");
    assert!(reader.cut_off().is_none_or(|line| line == lines));
    // A number with more digits than a recording has may be another one in its last bit.
    for entry in &mut entries {
        (entry.dt_us, entry.signals, entry.totals) = (None, None, None);
    }
    let mut written = Vec::new();
    let mut writer = Writer::new(&mut written, reader.header()).expect("memory takes everything");
    for entry in &entries {
        let entry = entry.clone();
        writer.write(entry).expect("memory takes everything");
    }
    let again = Reader::new("F", &written[..]).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    assert_eq!(again.expect("what was written"), entries);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_fuzzing_found_stays_found() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        type Target = fn(&[u8]);
        let targets: [(&str, Target); 3] =
            [("policy", policy), ("trace", trace), ("requests", requests)];
        for (name, target) in targets {
            let inputs = fs::read_dir(corpora.join(name)).unwrap();
            let paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
            assert!(!paths.is_empty(), "{name} has a corpus");
            for path in paths {
                println!("{}", path.display());
                target(&fs::read(path).unwrap());
            }
        }
    }
}
