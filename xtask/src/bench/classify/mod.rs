//! Which class the windows of many labelled loads get, in the test machine with few and many CPUs. The loads
//! are in `system-tests/src/classify.rs`, which prints their traces; this module replays these with the
//! shipped policy and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::{command, output, say};
use crate::machine::{Kernel, Lines, Machine, Role, SYSTEM_TESTS};
use crate::{debian, ebpf, workspace};

/// The numbers of CPUs on which it is measured.
const CPUS: [u32; 4] = [1, 2, 4, 8];
const TIMEOUT: Duration = Duration::from_secs(90 * 60);

/// How the files of traces end, and what is called what was said beside them.
const TRACE: &str = "jsonl";
const NOTES: &str = "notes.txt";

/// When a load begins and ends in its trace, in seconds; see `system-tests/src/classify.rs`.
const BEGINS: f64 = 2.0;
const ENDS: f64 = 9.0;
/// How long after its begin a load has settled: its program has started, its level has, and its class.
const SETTLED: f64 = 3.0;

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// On how many CPUs; can be given several times; 1, 2, 4 and 8 if it is not
    #[arg(long)]
    cpus: Vec<u32>,
    /// Only the loads with this in their name
    #[arg(long)]
    only: Option<String>,
    /// A directory in which the traces are kept
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Replay the traces in a directory in which they were kept, and record none
    #[arg(long, conflicts_with_all = ["cpus", "only", "keep"])]
    kept: Option<PathBuf>,
}

/// What became of one load.
struct Outcome {
    cpus: u64,
    /// The class it is, and its name.
    label: String,
    /// The time in each class, in seconds, from when it had settled to its end.
    classes: BTreeMap<String, f64>,
}

/// Measures.
pub(super) fn classify(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    debian::ensure_packages()?;
    ebpf::build_release()?;
    let cpus = match &arguments.cpus[..] {
        [] if quick => &[4][..],
        [] => &CPUS[..],
        cpus => cpus,
    };
    let only = arguments.only.as_deref().or(quick.then_some("--cpu"));
    let temporary = tempfile::tempdir().context("no place for traces")?;
    let directory = match (&arguments.kept, &arguments.keep) {
        (Some(kept), _) => kept,
        (None, keep) => {
            let directory = keep.as_deref().unwrap_or(temporary.path());
            fs::create_dir_all(directory)?;
            for &cpus in cpus {
                record(cpus, only, directory)?;
            }
            directory
        }
    };
    report(out, &outcomes(directory)?, &notes(directory)?)
}

/// Has a machine record every load. The traces go into `directory`, and what it says beside them into
/// a file there.
fn record(cpus: u32, only: Option<&str>, directory: &Path) -> Result<()> {
    let machine = Machine::new(Kernel::Role(Role::Newest))
        .cpus(cpus)
        .memory("3G")
        .with_programs()
        .timeout(TIMEOUT);
    let mut notes = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(NOTES))?;
    let mut trace: Option<File> = None;
    let mut lines = Lines::new(|line: &str| {
        if let Some(reason) = line.strip_prefix("# ") {
            say(reason);
            writeln!(notes, "{reason}")?;
        } else if let Some(why) = line.strip_prefix("! ") {
            say(why);
            writeln!(notes, "not measured: {cpus} CPUs, {why}")?;
        } else if line.starts_with('{') {
            if line.contains("\"label\"") {
                trace = Some(File::create(directory.join(file_name(line, cpus)?))?);
            }
            writeln!(
                trace.as_ref().context("a trace without a header")?,
                "{line}"
            )?;
        } else {
            say(line);
        }
        Ok(())
    });
    let mut command = vec![SYSTEM_TESTS.to_owned(), "classify".to_owned()];
    command.extend(only.map(ToOwned::to_owned));
    let exit = machine.run(&command, &mut |bytes| lines.feed(bytes));
    lines.finish()?;
    ensure!(
        exit?.status == 0,
        "the machine with {cpus} CPUs did not come to its end"
    );
    Ok(())
}

/// What the file of the trace with this header is called.
fn file_name(header: &str, cpus: u32) -> Result<String> {
    let name: String = label(&serde_json::from_str(header)?)?
        .chars()
        .map(|char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' => char,
            _ => '-',
        })
        .collect();
    Ok(format!("{name}-{cpus}.{TRACE}"))
}

fn label(header: &Value) -> Result<&str> {
    header["label"].as_str().context("a trace without a label")
}

/// What was said beside the traces, each once.
fn notes(directory: &Path) -> Result<BTreeSet<String>> {
    let path = directory.join(NOTES);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.lines().map(ToOwned::to_owned).collect())
}

/// Replays every trace in `directory`.
fn outcomes(directory: &Path) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == TRACE) {
            let outcome = outcome(&path).with_context(|| path.display().to_string());
            outcomes.push(outcome?);
        }
    }
    outcomes.sort_by(|one, other| (one.cpus, &one.label).cmp(&(other.cpus, &other.label)));
    Ok(outcomes)
}

/// Replays one.
fn outcome(trace: &Path) -> Result<Outcome> {
    let mut header = String::new();
    BufReader::new(File::open(trace)?).read_line(&mut header)?;
    let header: Value = serde_json::from_str(&header)?;
    let mut replay = command(workspace::release("auto-ext"));
    replay.arg("replay").arg(trace).arg("--policy");
    let said = output(replay.arg(workspace::root().join("policies.yaml")))?;
    let outcome = Outcome {
        cpus: header["cpus"].as_u64().context("a trace without CPUs")?,
        label: label(&header)?.to_owned(),
        classes: classes(&said, BEGINS + SETTLED, ENDS),
    };
    say(format!(
        "{} CPUs, {}: {:?}",
        outcome.cpus, outcome.label, outcome.classes
    ));
    Ok(outcome)
}

/// The time in each class between two moments, from what `auto-ext replay` says: a line for each change, with
/// its time and the class since then.
fn classes(said: &str, from: f64, to: f64) -> BTreeMap<String, f64> {
    let mut changes: Vec<(f64, &str)> = said
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((seconds(words.next()?)?, words.next()?))
        })
        .collect();
    changes.push((f64::INFINITY, ""));
    let mut classes = BTreeMap::new();
    for pair in changes.windows(2) {
        let time = pair[1].0.min(to) - pair[0].0.max(from);
        if time > 0.0 {
            *classes.entry(pair[0].1.to_owned()).or_default() += time;
        }
    }
    classes
}

/// `0:00:05.255` in seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let mut part = || parts.next()?.parse::<f64>().ok();
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    Some(3600.0 * hours + 60.0 * minutes + seconds)
}

impl Outcome {
    fn class(&self) -> &str {
        self.label.split_once(": ").map_or("", |(class, _)| class)
    }

    fn right(&self) -> f64 {
        self.classes.get(self.class()).copied().unwrap_or_default()
    }

    fn time(&self) -> f64 {
        self.classes.values().sum()
    }
}

/// The confusion matrix, the share that is right for each number of CPUs, and every load that is not.
fn report(out: &mut dyn Write, outcomes: &[Outcome], notes: &BTreeSet<String>) -> Result<()> {
    let is: BTreeSet<&str> = outcomes.iter().map(Outcome::class).collect();
    let called = outcomes
        .iter()
        .flat_map(|outcome| outcome.classes.keys().map(String::as_str));
    let called: BTreeSet<&str> = called.chain(is.iter().copied()).collect();
    writeln!(
        out,
        "percent of the time from {SETTLED} s after a load's start to its end, by what it is and was called"
    )?;
    write!(out, "{:<12} {:>6}", "is", "loads")?;
    for name in &called {
        write!(out, " {name:>11}")?;
    }
    writeln!(out)?;
    for class in &is {
        let of: Vec<&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.class() == *class)
            .collect();
        let time: f64 = of.iter().map(|outcome| outcome.time()).sum();
        write!(out, "{class:<12} {:>6}", of.len())?;
        for name in &called {
            let named: f64 = of
                .iter()
                .filter_map(|outcome| outcome.classes.get(*name))
                .sum();
            // Nothing summed up is -0.
            write!(out, " {:>11.1}", 100.0 * named.abs() / time)?;
        }
        writeln!(out)?;
    }
    let mut share = |name: &str, of: &[&Outcome]| {
        let (right, time) = of.iter().fold((0.0, 0.0), |sum, outcome| {
            (sum.0 + outcome.right(), sum.1 + outcome.time())
        });
        writeln!(
            out,
            "{name}: {:.1} % right, {} loads",
            100.0 * right / time,
            of.len()
        )
    };
    for cpus in outcomes
        .iter()
        .map(|outcome| outcome.cpus)
        .collect::<BTreeSet<_>>()
    {
        let of: Vec<&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.cpus == cpus)
            .collect();
        share(&format!("{cpus} CPUs"), &of)?;
    }
    share("all", &outcomes.iter().collect::<Vec<_>>())?;
    writeln!(out, "\nnot right for more than a twentieth of the time:")?;
    for outcome in outcomes
        .iter()
        .filter(|outcome| outcome.right() < 0.95 * outcome.time())
    {
        let classes: Vec<String> = outcome
            .classes
            .iter()
            .map(|(class, time)| format!("{class} {:.0} %", 100.0 * time / outcome.time()))
            .collect();
        writeln!(
            out,
            "  {} CPUs, {}: {}",
            outcome.cpus,
            outcome.label,
            classes.join(", ")
        )?;
    }
    writeln!(out, "\nthe loads, and why each is what it is:")?;
    for note in notes {
        writeln!(out, "  {note}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_each_class_is_taken_from_what_replay_says() {
        let said = "loopback: Linux 7.2.13, 4 CPUs\n\n       time  class   runs\n\
                    0:00:00.250  idle     kernel   class idle\n\
                    0:00:06.000  network  kernel -> cosmos   class network\n\
                    0:00:07.500  network  cosmos   class network\n\
                    0:00:13.000  idle     cosmos -> kernel   class idle\n";
        let expected = BTreeMap::from([("idle".to_owned(), 2.0), ("network".to_owned(), 7.0)]);
        assert_eq!(classes(said, 5.0, 14.0), expected);
        assert!(classes("", 5.0, 14.0).is_empty());
    }
}
