//! How schedulers do jobs, compared with the kernel's own, in the test machine, by `auto-ext compare` itself. What happens
//! there is in `system-tests/src/jobs`; this module owns what its lines mean, and the matrix.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::answer::{Answer, Challenger, Effect, percent};
use super::records::records;
use crate::debian;
use crate::machine::{Kernel, Machine, Role, SYSTEM_TESTS};

/// What all others are compared with.
const KERNEL: &str = "kernel";
/// What is compared if nothing else is said.
const SCHEDULERS: [&str; 6] = ["bpfland", "cosmos", "flash", "beerland", "rusty", "lavd"];

/// How many pairs of each there are at most, if nothing else is said; and of how many the comparison makes an interval.
const PAIRS: u32 = 10;

/// How long a turn may take in the middle, with its switch, and how many jobs there are at most.
const TURN: Duration = Duration::from_secs(30);
const JOBS: u32 = 12;

/// How much is compared.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// Only the jobs with this in their name
    #[arg(long)]
    only: Option<String>,
    /// A scheduler that is compared with the kernel's; can be given several times; six if it is not
    #[arg(long = "scheduler")]
    schedulers: Vec<String>,
    /// How many pairs of each at most; 10 if it is not given
    #[arg(long)]
    pairs: Option<u32>,
    /// On how many CPUs; 4 if it is not given
    #[arg(long)]
    cpus: Option<u32>,
}

/// What came of one job.
#[derive(Debug, Deserialize)]
struct Compared {
    job: String,
    /// By what it was judged.
    judged: String,
    answer: Option<Answer>,
    error: Option<String>,
}

/// Compares.
pub(super) fn schedulers(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let pairs = arguments.pairs.unwrap_or(if quick { 1 } else { PAIRS });
    let schedulers: Vec<&str> = match &arguments.schedulers[..] {
        [] if quick => vec!["cosmos"],
        [] => SCHEDULERS.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let only = arguments.only.as_deref().or(quick.then_some("wake-ups"));
    debian::ensure_packages()?;
    let cpus = arguments.cpus.unwrap_or(4);
    let turns = 2 * pairs * u32::try_from(schedulers.len())? + 2;
    let machine = Machine::new(Kernel::Role(Role::Newest))
        .cpus(cpus)
        .memory("3G")
        .with_programs()
        .timeout(TURN * turns * JOBS);
    let version = machine.prepare()?;
    let names: Vec<&str> = [KERNEL].into_iter().chain(schedulers).collect();
    let command = [
        SYSTEM_TESTS,
        "jobs",
        &names.join(","),
        &pairs.to_string(),
        only.unwrap_or_default(),
    ]
    .map(str::to_owned);
    let (all, ended) = records(&machine, &command, |job: &Compared| told(job).join("\n"));
    writeln!(
        out,
        "Linux {version}, {cpus} emulated CPUs; each compared with the kernel's own scheduler, {pairs} pairs at most; + is better.\n\
         In parentheses the interval of 95 %; `better` and `worse` are the comparison's verdicts, `same` that no difference is worth having."
    )?;
    all.iter()
        .flat_map(told)
        .try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "\n{}", summary(&all))?;
    ended
}

/// The lines of one job.
fn told(job: &Compared) -> Vec<String> {
    let heading = format!("{}, by its {}", job.job, job.judged);
    let mut lines = vec![heading];
    if let Some(error) = &job.error {
        lines.push(format!("    not compared: {error}"));
    }
    for challenger in job.answer.iter().flat_map(|answer| &answer.challengers) {
        lines.push(format!("    {}", line(challenger)));
    }
    lines
}

fn line(challenger: &Challenger) -> String {
    let Challenger {
        scheduler,
        pairs,
        effect,
        ..
    } = challenger;
    let size = match effect {
        None => "no pair".to_owned(),
        Some(Effect { median, low, high }) => {
            let range = low.zip(*high).map_or_else(String::new, |(low, high)| {
                format!(" ({} to {})", percent(low), percent(high))
            });
            format!("{} %{range}", percent(*median))
        }
    };
    format!(
        "{scheduler:<10} {size:<26} {pairs:>2} pairs  {}",
        verdict(challenger)
    )
}

fn verdict(challenger: &Challenger) -> &str {
    match challenger.verdict.as_str() {
        "no difference" => "same",
        "open" => "",
        decided => decided,
    }
}

/// Of each scheduler, by how many jobs it was called what.
fn summary(all: &[Compared]) -> String {
    let mut verdicts: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    for challenger in all.iter().filter_map(|job| job.answer.as_ref()) {
        for challenger in &challenger.challengers {
            let verdict = match verdict(challenger) {
                "" => "not decided",
                decided => decided,
            };
            let counts = verdicts.entry(&challenger.scheduler).or_default();
            *counts.entry(verdict).or_default() += 1;
        }
    }
    let lines = verdicts.iter().map(|(scheduler, counts)| {
        let counts = counts.iter().map(|(what, count)| format!("{count} {what}"));
        format!("{scheduler}: {}", counts.collect::<Vec<_>>().join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"job":"hackbench","judged":"time","answer":{"challengers":[
        {"scheduler":"bpfland","verdict":"better","pairs":8,"effect":{"median":0.0392,"low":0.01,"high":0.07}},
        {"scheduler":"rusty","verdict":"open","pairs":1,"effect":{"median":-0.1,"low":null,"high":null}}]}}"#;

    #[test]
    fn a_job_has_a_line_for_each_scheduler() {
        let job: Compared = serde_json::from_str(LINE).unwrap();
        assert_eq!(
            told(&job),
            [
                "hackbench, by its time",
                "    bpfland    +4.0 % (+1.0 to +7.3)       8 pairs  better",
                "    rusty      -9.5 %                      1 pairs  ",
            ]
        );
        assert_eq!(summary(&[job]), "bpfland: 1 better\nrusty: 1 not decided");
    }

    #[test]
    fn what_could_not_be_compared_says_why() {
        let line = r#"{"job":"fio","judged":"time","error":"rusty does not run"}"#;
        let job: Compared = serde_json::from_str(line).unwrap();
        assert_eq!(told(&job)[1], "    not compared: rusty does not run");
    }
}
