//! Owns what commands make of traces with a label, which says what class a load should have had: `CLASS`, or
//! `CLASS: what ran`.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use auto_ext_policy::Policy;
use auto_ext_service::sanitize::sanitize;

use super::replay;
use crate::trace::replay::{Replay, Summary};
use crate::trace::{Entry, Header, Reader, Writer};

/// Whether the programs that ran stay in a copy of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Programs {
    Stay,
    AreLeftOut,
}

/// Fails unless `class` is one of the policy's, which was read from `path`.
pub(crate) fn require_class(policy: &Policy, path: &Path, class: &str) -> anyhow::Result<()> {
    let classes: BTreeSet<&str> = policy.rules.iter().map(|rule| &*rule.class).collect();
    if classes.contains(class) {
        return Ok(());
    }
    let classes = Vec::from_iter(classes).join(", ");
    bail!(
        "`{}` is no class of {}, which has: {classes}",
        sanitize(class),
        path.display()
    )
}

/// The class that a label says.
pub(crate) fn class_of(label: &str) -> &str {
    label.split_once(':').map_or(label, |(class, _)| class)
}

/// Writes the trace that `reader` has with `header`, and returns what the policy makes of it.
pub(crate) fn copy<R: BufRead, W: Write>(
    reader: &mut Reader<R>,
    header: &Header,
    output: W,
    programs: Programs,
    policy: &Policy,
) -> anyhow::Result<Summary> {
    let mut writer = Writer::new(output, header)?;
    let mut replay = Replay::new(policy);
    for entry in reader {
        let mut entry = entry?;
        replay.apply(entry.clone());
        if programs == Programs::AreLeftOut {
            entry.processes.clear();
        }
        let says_nothing = Entry {
            at_us: entry.at_us,
            ..Entry::default()
        };
        if entry != says_nothing {
            writer.write(entry)?;
        }
    }
    Ok(replay.summary().clone())
}

/// `5m in 1200 windows; the policy says parallel 97.0 %, cpu 3.0 %`.
pub(crate) fn in_words(summary: &Summary) -> String {
    let seconds = Duration::from_secs(summary.time.as_secs());
    format!(
        "{} in {} windows; the policy says {}",
        humantime::format_duration(seconds),
        summary.windows,
        replay::shares(&summary.classes, summary.time)
    )
}

#[cfg(test)]
mod tests {
    use auto_ext_signals::{Process, ProcessEvent, Signal, Signals};

    use super::*;

    const TRACE: &str = concat!(
        r#"{"trace":2,"version":"0.1.0","kernel":"7.2","cpus":4,"label":"cpu: hogs","started_us":1,"window_ms":250,"#,
        r#""machine":{"fault_ns":500.0,"huge_fault_ns":100000.0}}"#,
        "\n"
    );

    /// A trace of ten seconds of hogs beside a program with a name.
    fn trace() -> String {
        let mut text = Vec::new();
        let header = Reader::new("t", TRACE.as_bytes()).unwrap().header().clone();
        let mut writer = Writer::new(&mut text, &header).unwrap();
        let process = Process {
            pid: 7,
            comm: "secret".to_owned(),
            executable: "/home/secret".to_owned(),
            argv0: "secret".to_owned(),
            cgroup: "/user.slice".to_owned(),
            ancestors: Vec::new(),
        };
        let processes = vec![ProcessEvent::All(vec![process])];
        let first = Entry {
            processes,
            ..Entry::default()
        };
        writer.write(first).unwrap();
        for number in 1..=40 {
            let mut signals = Signals::default();
            for signal in Signal::ALL {
                signals.set(signal, Some(0.0));
            }
            signals.set(Signal::Cpu, Some(1.0));
            writer
                .write(Entry {
                    at_us: number * 250_000,
                    dt_us: Some(250_000),
                    signals: Some(signals),
                    ..Entry::default()
                })
                .unwrap();
        }
        String::from_utf8(text).unwrap()
    }

    fn policy() -> Policy {
        let text = "version: 1\nrules:\n  - {class: cpu, when: {cpu: high}, use: [kernel]}\n  - {class: idle, use: [kernel]}\n";
        Policy::parse("p", text).unwrap()
    }

    #[test]
    fn in_a_copy_no_program_is_left_unless_it_is_asked_for() {
        for (programs, is_there) in [(Programs::Stay, true), (Programs::AreLeftOut, false)] {
            let text = trace();
            let mut reader = Reader::new("t", text.as_bytes()).unwrap();
            let header = reader.header().clone();
            let mut copied = Vec::new();
            let summary = copy(&mut reader, &header, &mut copied, programs, &policy()).unwrap();
            assert_eq!(summary.time, Duration::from_secs(10));
            assert!(summary.classes["cpu"] > Duration::from_secs(8));
            let copied = String::from_utf8(copied).unwrap();
            assert_eq!(copied.contains("secret"), is_there);
            assert_eq!(copied.lines().count(), 41 + usize::from(is_there));
            // It is a trace as before.
            let mut again = Reader::new("c", copied.as_bytes()).unwrap();
            assert!(again.all(|entry| entry.is_ok()));
        }
    }

    #[test]
    fn a_label_begins_with_a_class_of_the_policy() {
        let policy = policy();
        for label in ["cpu", "cpu: hogs", "idle: nothing: at all"] {
            require_class(&policy, Path::new("p.yaml"), class_of(label)).unwrap();
        }
        let error = require_class(&policy, Path::new("p.yaml"), class_of("hogs: cpu"));
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "`hogs` is no class of p.yaml, which has: cpu, idle");
    }
}
