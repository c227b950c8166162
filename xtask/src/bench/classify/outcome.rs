//! What became of one load: the time that it was in each class, as a replay of its trace with the shipped policy says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Setting, TRACE, label};
use crate::command::{command, output, say};
use crate::workspace;

/// When a load begins in its trace, in seconds; see `system-tests/src/classify.rs`.
const BEGINS: f64 = 2.0;
/// How long after its begin a load has settled: its program has started, its level has, and its class.
pub(super) const SETTLED: f64 = 3.0;
/// The share of all CPUs that may be busy on a machine of somebody's while no load runs.
const DISTURBED: f64 = 0.15;
/// The label of loads that are any one class, but that all of the time.
pub(super) const STABLE: &str = "stable";

/// What became of one load.
#[derive(Clone)]
pub(super) struct Outcome {
    pub(super) cpus: u64,
    pub(super) setting: Setting,
    /// The class it is, and its name.
    pub(super) label: String,
    pub(super) judged: Judged,
    /// The share of all CPUs that was busy while the load did not run.
    pub(super) beside: f64,
}

/// What a load was from when it had settled to its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Judged {
    /// The time in each class, in seconds.
    pub(super) classes: BTreeMap<String, f64>,
    /// How often the class changed.
    pub(super) changes: u32,
}

/// Replays every trace in `directory` with the shipped policy, and says what became of each.
pub(super) fn all(directory: &Path) -> Result<Vec<Outcome>> {
    let outcomes = with_policy(directory, &workspace::root().join("policies.yaml"))?;
    for outcome in &outcomes {
        say(format!(
            "{}, {}: {:?}",
            outcome.place(),
            outcome.label,
            outcome.judged.classes
        ));
    }
    Ok(outcomes)
}

/// Replays every trace in `directory` with this policy.
pub(super) fn with_policy(directory: &Path, policy: &Path) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == TRACE) {
            let outcome = replay(&path, policy).with_context(|| path.display().to_string());
            outcomes.push(outcome?);
        }
    }
    let key = |outcome: &Outcome| {
        let Setting {
            bare, scheduler, ..
        } = &outcome.setting;
        let label = outcome.label.clone();
        (*bare, scheduler.clone(), outcome.cpus, label)
    };
    outcomes.sort_by_cached_key(key);
    Ok(outcomes)
}

/// Replays one.
fn replay(trace: &Path, policy: &Path) -> Result<Outcome> {
    let text = fs::read_to_string(trace)?;
    let mut lines = text.lines();
    let header: Value = serde_json::from_str(lines.next().context("it is empty")?)?;
    let mut replay = command(workspace::release("auto-ext"));
    replay.arg("replay").arg(trace).arg("--policy");
    let said = output(replay.arg(policy))?;
    let setting = Setting::from(&header);
    // One of `auto-ext label` is of its load from its beginning to its end.
    let (begins, ends) = if header["bench"].is_null() {
        (0.0, lines.clone().last().map_or(Ok(0.0), end_of)?)
    } else {
        (BEGINS, BEGINS + setting.seconds)
    };
    Ok(Outcome {
        cpus: header["cpus"].as_u64().context("a trace without CPUs")?,
        label: label(&header)?.to_owned(),
        judged: judge(&said, begins + SETTLED, ends),
        beside: if begins > 0.0 {
            beside(lines, ends)?
        } else {
            0.0
        },
        setting,
    })
}

/// What there is between two moments of what `auto-ext replay` says: a line for each change, with
/// its time and the class since then.
fn judge(said: &str, from: f64, to: f64) -> Judged {
    let mut changes: Vec<(f64, &str)> = said
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((seconds(words.next()?)?, words.next()?))
        })
        .collect();
    changes.push((f64::INFINITY, ""));
    let mut judged = Judged::default();
    let mut last = None;
    for pair in changes.windows(2) {
        let (class, time) = (pair[0].1, pair[1].0.min(to) - pair[0].0.max(from));
        if time > 0.0 {
            *judged.classes.entry(class.to_owned()).or_default() += time;
            judged.changes += u32::from(last.is_some_and(|last| last != class));
            last = Some(class);
        }
    }
    judged
}

/// When the window that is this line of a trace ended, in seconds.
fn end_of(line: &str) -> Result<f64> {
    let window: Value = serde_json::from_str(line)?;
    Ok(window["at_us"].as_f64().unwrap_or_default() / 1e6)
}

/// The share of all CPUs that was busy in the second before a load began or in that after its end, whichever is more,
/// from the windows of its trace.
fn beside<'a>(windows: impl Iterator<Item = &'a str>, ends: f64) -> Result<f64> {
    let [mut before, mut after] = [Share::default(), Share::default()];
    for window in windows {
        let window: Value = serde_json::from_str(window)?;
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let (end, time) = (
            number(&window["at_us"]) / 1e6,
            number(&window["dt_us"]) / 1e6,
        );
        let busy = time * number(&window["signals"]["cpu"]);
        // The recording's own beginning and what is left of a load at its end are neither.
        if end - time >= BEGINS - 1.1 && end <= BEGINS + 0.05 {
            before.add(busy, time);
        } else if end - time >= ends + 0.2 {
            after.add(busy, time);
        }
    }
    Ok(before.of_time().max(after.of_time()))
}

/// A share of a time.
#[derive(Default)]
struct Share {
    part: f64,
    time: f64,
}

impl Share {
    fn add(&mut self, part: f64, time: f64) {
        self.part += part;
        self.time += time;
    }

    fn of_time(&self) -> f64 {
        if self.time > 0.0 {
            self.part / self.time
        } else {
            0.0
        }
    }
}

/// `0:00:05.255` in seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let mut part = || parts.next()?.parse::<f64>().ok();
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    Some(3600.0 * hours + 60.0 * minutes + seconds)
}

impl Outcome {
    /// The class and the name in the label; of a label that is a class alone, the name is that too.
    fn parts(&self) -> (&str, &str) {
        let parts = self.label.split_once(':');
        parts.map_or((&self.label, &self.label), |(class, name)| {
            (class, name.trim_start())
        })
    }

    /// The class that it is.
    pub(super) fn class(&self) -> &str {
        self.parts().0
    }

    /// The program that it is of, without what it works and what is beside it; of `stress-ng` the stressor too, as they have
    /// nothing in common.
    pub(super) fn program(&self) -> &str {
        let name = self.parts().1;
        let mut end = name.len();
        for more in [",", " beside ", " with ", " at ", " under "] {
            end = end.min(name.find(more).unwrap_or(end));
        }
        if name.starts_with("stress-ng --")
            && let Some((third, _)) = name.match_indices(' ').nth(1)
        {
            end = end.min(third);
        }
        &name[..end]
    }

    /// The time in which it was that: of what is to be stable, in the class that it most often was.
    pub(super) fn right(&self) -> f64 {
        let times = &self.judged.classes;
        match self.class() {
            STABLE => times.values().copied().fold(0.0, f64::max),
            class => times.get(class).copied().unwrap_or_default(),
        }
    }

    /// The share of its time in which it is to be that.
    pub(super) fn wanted(&self) -> f64 {
        if self.class() == STABLE { 0.9 } else { 0.95 }
    }

    /// The time for which it was judged.
    pub(super) fn time(&self) -> f64 {
        self.judged.classes.values().sum()
    }

    /// Whether it was not alone: what is measured on a machine on which something else works too is of both.
    pub(super) fn is_disturbed(&self) -> bool {
        self.setting.bare && self.beside > DISTURBED
    }

    /// How often the class changed in a minute.
    pub(super) fn flips(&self) -> f64 {
        60.0 * f64::from(self.judged.changes) / self.time()
    }

    /// Where, and under what.
    pub(super) fn place(&self) -> String {
        self.setting.place(self.cpus)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SAID: &str = "loopback: Linux 7.2.13, 4 CPUs\n\n       time  class   runs\n\
                        0:00:00.250  idle     kernel   class idle\n\
                        0:00:06.000  network  kernel -> cosmos   class network\n\
                        0:00:07.500  network  cosmos   class network\n\
                        0:00:13.000  idle     cosmos -> kernel   class idle\n";

    #[test]
    fn the_time_in_each_class_is_taken_from_what_replay_says() {
        let expected = BTreeMap::from([("idle".to_owned(), 2.0), ("network".to_owned(), 7.0)]);
        let judged = judge(SAID, 5.0, 14.0);
        assert_eq!(judged.classes, expected);
        assert_eq!(judged.changes, 2);
        assert_eq!(judge(SAID, 6.5, 12.0).changes, 0);
        assert_eq!(judge("", 5.0, 14.0), Judged::default());
    }

    #[test]
    fn what_is_to_be_stable_is_right_in_the_class_that_it_most_often_was() {
        let outcome = |label: &str| Outcome {
            cpus: 4,
            setting: Setting::from(&json!({})),
            label: label.to_owned(),
            judged: judge(SAID, 5.0, 14.0),
            beside: 0.0,
        };
        assert!((outcome("stable: a server").right() - 7.0).abs() < 1e-9);
        assert!((outcome("idle: a server").right() - 2.0).abs() < 1e-9);
        assert!((outcome("io: a server").right()).abs() < 1e-9);
        assert!((outcome("idle: a server").flips() - 120.0 / 9.0).abs() < 1e-9);
    }

    #[test]
    fn loads_of_one_program_are_of_one_program() {
        let program = |name: &str| {
            let outcome = Outcome {
                cpus: 4,
                setting: Setting::from(&json!({})),
                label: format!("io: {name}"),
                judged: Judged::default(),
                beside: 0.0,
            };
            outcome.program().to_owned()
        };
        for (name, of) in [
            ("fio, direct random reads", "fio"),
            ("fio beside hogs", "fio"),
            ("game with asset stream", "game"),
            ("batch at nice 19", "batch"),
            ("batch under SCHED_IDLE", "batch"),
            ("stress-ng --cpu 6N", "stress-ng --cpu"),
            ("stress-ng --pipe", "stress-ng --pipe"),
            ("make -j 4N", "make -j 4N"),
        ] {
            assert_eq!(program(name), of);
        }
    }

    #[test]
    fn what_else_a_machine_does_is_seen_before_a_load_and_after_it() {
        let window = |end: f64, cpu: f64| {
            json!({"at_us": end * 1e6, "dt_us": 250_000, "signals": {"cpu": cpu}}).to_string()
        };
        let trace = |before: f64, during: f64, after: f64| {
            let rest = [window(0.25, 1.0), window(1.5, before), window(2.0, before)];
            let load = [window(2.25, during), window(9.25, during)];
            let end = [window(9.5, after), window(9.75, after)];
            [&rest[..], &load[..], &end[..]].concat()
        };
        let beside = |trace: Vec<String>| beside(trace.iter().map(String::as_str), 9.0).unwrap();
        assert!(beside(trace(0.0, 1.0, 0.0)).abs() < 1e-9);
        assert!((beside(trace(0.4, 1.0, 0.0)) - 0.4).abs() < 1e-9);
        assert!((beside(trace(0.4, 1.0, 0.6)) - 0.6).abs() < 1e-9);
    }
}
