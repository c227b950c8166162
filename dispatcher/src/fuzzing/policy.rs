//! Texts of policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use auto_ext_policy::{Checked, Context, Policy, Power, Problem, Profile, Warning};
use auto_ext_signals::{Process, ProcessEvent, Signal, Signals};

use crate::trace::Entry;
use crate::trace::replay::Replay;

/// How many lines of a text are taken for processes.
const MAX_PROCESSES: usize = 8;
const SECOND_US: u64 = 1_000_000;

/// A text gives a policy with which decisions can be made, or problems. These, and the warnings about the policy, have a
/// place in the text, are in its order and are safe to print on a terminal.
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
            let problems: Vec<Problem> = error.problems().cloned().collect();
            assert!(!problems.is_empty(), "an error without a problem");
            problems
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
            ancestors: Vec::new(),
        })
        .collect();
    // Each was started by the one before it.
    let mut started: Vec<Process> = Vec::new();
    for mut process in processes {
        let before = started.iter().rev().map(|before| Process {
            ancestors: Vec::new(),
            ..before.clone()
        });
        process.ancestors = before.map(Arc::new).collect();
        started.push(process);
    }
    let processes = started;
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
        for change in replay.apply(entry) {
            let rule = policy.rule(&change.class);
            let named = rule.map_or(&[][..], |rule| &rule.candidates);
            let kernel = auto_ext_policy::Candidate::Kernel;
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
    let nothing_known = Context {
        levels: auto_ext_signals::Levels::all(auto_ext_signals::Level::Unknown),
        processes: &processes,
        power: None,
        profile: None,
    };
    let rule = policy.rule_for(&nothing_known);
    assert!(rule.is_none_or(|rule| rule.when.levels.is_empty()));
}
