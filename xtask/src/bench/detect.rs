//! How long it takes from a load's start to the right scheduler, in the test machine. What happens there is
//! in `system-tests/src/detect.rs`; this module owns what its lines mean.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::records::records;
use super::statistics::{percentile, spread};
use crate::debian;
use crate::machine::{Kernel, Machine, Role, SYSTEM_TESTS};

/// How many loads there are, and how long one start of one may take besides what it is watched for.
const LOADS: u64 = 8;
const OVERHEAD: u64 = 60;

/// How much is measured, and where.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// The kernel: newest, oldest or a version; newest if it is not given
    #[arg(long)]
    kernel: Option<Kernel>,
    /// How often each load is started; 20 times if it is not given
    #[arg(long)]
    starts: Option<u64>,
    /// Only the loads with this in their name
    #[arg(long)]
    only: Option<String>,
    /// For how many seconds each is watched after its scheduler was enabled; 10 if it is not given
    #[arg(long)]
    watched: Option<u64>,
}

/// One start of a load. Times are in milliseconds.
#[derive(Debug, Deserialize)]
struct Start {
    load: String,
    class: String,
    /// From its start to its class, and to its scheduler enabled.
    named_ms: f64,
    enabled_ms: f64,
    /// From its end to the class of an idle machine.
    idle_ms: f64,
    /// The classes that came up while it was watched.
    others: Vec<String>,
}

/// Measures.
pub(super) fn detect(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let starts = arguments.starts.unwrap_or(if quick { 1 } else { 20 });
    let watched = arguments.watched.unwrap_or(if quick { 1 } else { 10 });
    debian::ensure_packages()?;
    let kernel = arguments
        .kernel
        .clone()
        .unwrap_or(Kernel::Role(Role::Newest));
    let limit = Duration::from_secs(starts * LOADS * (watched + OVERHEAD) + 300);
    let machine = Machine::new(kernel).timeout(limit);
    let version = machine.prepare()?;
    let only = arguments.only.as_deref().or(quick.then_some("traffic"));
    let command = [
        SYSTEM_TESTS,
        "detect",
        &starts.to_string(),
        &watched.to_string(),
        only.unwrap_or_default(),
    ]
    .map(str::to_owned);
    let (all, ended) = records(&machine, &command, |start: &Start| format!("{start:?}"));
    writeln!(
        out,
        "Linux {version}, seconds, each load started {starts} times and watched for {watched} s"
    )?;
    table(out, &all)?;
    ended
}

/// A line for each load, and one for all.
fn table(out: &mut dyn Write, all: &[Start]) -> Result<()> {
    writeln!(
        out,
        "{:<32} {:>6} | {:^20} | {:^20} | {:^20} | other",
        "", "", "decision", "scheduler", "idle again"
    )?;
    write!(out, "{:<32} {:>6} |", "load", "starts")?;
    for _ in 0..3 {
        write!(out, " {:>6} {:>6} {:>6} |", "median", "95th", "worst")?;
    }
    writeln!(out, " classes")?;
    let mut loads: Vec<&str> = Vec::new();
    for start in all {
        if !loads.contains(&start.load.as_str()) {
            loads.push(&start.load);
        }
    }
    for load in loads {
        let starts: Vec<_> = all.iter().filter(|start| start.load == load).collect();
        line(out, &format!("{}: {load}", starts[0].class), &starts)?;
    }
    if !all.is_empty() {
        line(out, "all", &all.iter().collect::<Vec<_>>())?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, name: &str, starts: &[&Start]) -> Result<()> {
    write!(out, "{name:<32.32} {:>6} |", starts.len())?;
    let times: [fn(&Start) -> f64; 3] = [
        |start| start.named_ms,
        |start| start.enabled_ms,
        |start| start.idle_ms,
    ];
    for time in times {
        let seconds: Vec<f64> = starts.iter().map(|start| time(start) / 1000.0).collect();
        let (_, median, worst) = spread(&seconds);
        let high = percentile(&seconds, 95);
        write!(out, " {median:>6.2} {high:>6.2} {worst:>6.2} |")?;
    }
    let taken_back = starts
        .iter()
        .filter(|start| !start.others.is_empty())
        .count();
    writeln!(out, " {taken_back:>5}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_has_a_line_and_all_have_one() {
        let start = |load: &str, named_ms: f64, others: &[&str]| Start {
            load: load.to_owned(),
            class: "cpu".to_owned(),
            named_ms,
            enabled_ms: 2000.0,
            idle_ms: 500.0,
            others: others.iter().map(ToString::to_string).collect(),
        };
        let all = [
            start("one", 1000.0, &[]),
            start("two", 3000.0, &["io"]),
            start("one", 2000.0, &[]),
        ];
        let mut out = Vec::new();
        table(&mut out, &all).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(
            line("cpu: one").contains("2 |   1.50   2.00   2.00 |"),
            "{text}"
        );
        assert!(line("cpu: two").ends_with("|     1"), "{text}");
        assert!(line("all").contains("3 |   2.00   3.00   3.00 |"), "{text}");
    }
}
