//! How far trials keep what they promise: on machines that are made up, which `simulation/` does, in time of its own, and in the
//! test machine, where the daemon tries what is bad or good because it was made so (`system-tests/src/jobs/tried.rs`).

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::answer::percent;
use super::records::Plants;
use super::statistics::spread;
use crate::command::{command, output, step};
use crate::{ebpf, workspace};

const PACKAGE: &str = "auto-ext-simulation";

/// How often each is tried in the test machine, if nothing else is said.
const TIMES: u32 = 10;
/// How long that may take once, and of how many things.
const TRIAL: Duration = Duration::from_mins(30);
const PLANTS: u32 = 6;

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    #[command(flatten)]
    machines: Machines,
    /// How many made-up machines for each question about one challenger; 1000 if it is not given
    #[arg(long, conflicts_with = "machine")]
    comparisons: Option<u64>,
    /// How many are lived with for a week; 100 if it is not given
    #[arg(long, conflicts_with = "machine")]
    lives: Option<u64>,
    /// How often each is tried in the test machine; 10 times if it is not given
    #[arg(long, conflicts_with = "simulate")]
    times: Option<u32>,
    /// In the test machine, only what has this in its name
    #[arg(long, conflicts_with = "simulate")]
    only: Option<String>,
}

#[derive(clap::Args, Default)]
#[group(required = true, multiple = false)]
struct Machines {
    /// On machines that are made up, which needs no other
    #[arg(long)]
    simulate: bool,
    /// In the test machine
    #[arg(long)]
    machine: bool,
}

/// What came of the trials of one scheduler.
#[derive(Debug, Deserialize)]
struct Tried {
    plant: String,
    truth: String,
    /// The yardstick shows the truth.
    is_clear: bool,
    verdict: String,
    pairs: Option<u32>,
    /// As the logarithm of a ratio.
    effect: Option<f64>,
    /// What may not get worse and is nearest to that, and how near; 1 is too much.
    guard: Option<(String, f64)>,
    /// Why it had to leave at once.
    why: Option<String>,
    /// What is in the way of trials at the end.
    in_the_way: Option<Vec<String>>,
    seconds: u64,
    /// For how many seconds it ran at most.
    ran_for: f64,
}

impl Arguments {
    /// As they are when everything is measured.
    pub(super) fn all() -> [Self; 2] {
        let of = |simulate| Self {
            machines: Machines {
                simulate,
                machine: !simulate,
            },
            ..Self::default()
        };
        [of(true), of(false)]
    }

    /// Of the part of the report.
    pub(super) fn name(&self) -> &'static str {
        if self.takes_machine() {
            "trials in the test machine"
        } else {
            "trials"
        }
    }

    pub(super) fn takes_machine(&self) -> bool {
        self.machines.machine
    }
}

/// Measures.
pub(super) fn trials(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    if arguments.takes_machine() {
        in_machine(arguments, quick, out)
    } else {
        simulated(arguments, quick, out)
    }
}

fn simulated(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    step("building the simulation", || {
        ebpf::build_of_release(&["--bin=auto-ext-simulation"])
    })?;
    let (few_comparisons, few_lives) = if quick { (2, 1) } else { (1000, 100) };
    let mut simulation = command(workspace::release(PACKAGE));
    let comparisons = arguments.comparisons.unwrap_or(few_comparisons);
    let lives = arguments.lives.unwrap_or(few_lives);
    simulation.args(["--comparisons", &comparisons.to_string()]);
    simulation.args(["--lives", &lives.to_string()]);
    let said = step("simulating", || output(&mut simulation))?;
    writeln!(
        out,
        "{comparisons} machines for each of the first, {lives} for what comes of a week"
    )?;
    out.write_all(said.as_bytes())?;
    Ok(())
}

fn in_machine(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let times = arguments.times.unwrap_or(if quick { 1 } else { TIMES });
    let only = arguments.only.as_deref().or(quick.then_some("stalls"));
    let plants = Plants {
        job: "tried",
        times,
        only,
        longest: TRIAL * times * PLANTS,
    };
    let (version, all, ended) = plants.records(Tried::told)?;
    writeln!(
        out,
        "Linux {version}; each tried {times} times, with nothing known before"
    )?;
    for of in all.chunk_by(|a, b| a.plant == b.plant) {
        writeln!(out, "{}", summary(of))?;
    }
    ended
}

impl Tried {
    /// What came of it, in a line.
    fn told(&self) -> String {
        let Self {
            plant,
            verdict,
            seconds,
            ran_for,
            ..
        } = self;
        let pairs = self.pairs.unwrap_or_default();
        let effect = self
            .effect
            .map_or(String::new(), |effect| format!(", {} %", percent(effect)));
        let is_open = verdict == "open";
        let in_the_way = self
            .in_the_way
            .as_ref()
            .filter(|why| is_open && !why.is_empty());
        let why = match (&self.why, in_the_way) {
            (Some(why), _) => format!(" ({why})"),
            (None, Some(reasons)) => format!(" ({})", reasons.join(", ")),
            (None, None) => String::new(),
        };
        let lost = self.guard.as_ref().filter(|(_, near)| *near >= 1.0);
        let guard = lost.map_or(String::new(), |(guard, near)| {
            format!(", {guard} is worse by {near:.1} times what it may be")
        });
        format!(
            "{plant}: {verdict}{why}{effect}{guard}, {pairs} pairs, {seconds} s; ran for {ran_for:.1} s at most"
        )
    }
}

/// All trials of one scheduler.
fn summary(all: &[Tried]) -> String {
    let Some(first) = all.first() else {
        return String::new();
    };
    let named = |verdict: &str| all.iter().filter(|one| one.verdict == verdict).count();
    let decided = all.iter().filter(|one| one.verdict != "open");
    let pairs: Vec<f64> = decided
        .map(|one| f64::from(one.pairs.unwrap_or_default()))
        .collect();
    let after = if pairs.is_empty() {
        String::new()
    } else {
        let (least, median, most) = spread(&pairs);
        format!("; decided after {median} pairs ({least} to {most})")
    };
    let runs: Vec<f64> = all.iter().map(|one| one.ran_for).collect();
    let (_, usual, longest) = spread(&runs);
    let void = if first.is_clear {
        ""
    } else {
        "; void: by hand the two are not that"
    };
    format!(
        "{}: of {}, which are {}, {} better, {} better at a cost, {} worse, {} benched by a guard or a failure, {} no difference, {} not decided{after}; \
         ran for {usual:.1} s at once (median of the longest; {longest:.1} s at most){void}",
        first.plant,
        all.len(),
        first.truth,
        named("better"),
        named("better at a cost"),
        named("worse"),
        named("benched"),
        named("no difference"),
        named("open"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(verdict: &str, pairs: u32, ran_for: f64) -> Tried {
        let line = format!(
            r#"{{"plant":"stalls","truth":"worse","is_clear":true,"verdict":"{verdict}","pairs":{pairs},"effect":-0.7,
                "guard":["progress",1.5],
                "why":null,"in_the_way":["on battery"],"seconds":60,"ran_for":{ran_for}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn trials_are_counted() {
        let all = [
            tried("benched", 1, 5.0),
            tried("worse", 5, 3.0),
            tried("open", 10, 9.0),
        ];
        assert_eq!(
            all[0].told(),
            "stalls: benched, -50.3 %, progress is worse by 1.5 times what it may be, 1 pairs, 60 s; ran for 5.0 s at most"
        );
        assert_eq!(
            all[2].told(),
            "stalls: open (on battery), -50.3 %, progress is worse by 1.5 times what it may be, 10 pairs, 60 s; ran for 9.0 s at most"
        );
        assert_eq!(
            summary(&all),
            "stalls: of 3, which are worse, 0 better, 0 better at a cost, 1 worse, 1 benched by a guard or a failure, 0 no difference, 1 not decided; \
             decided after 3 pairs (1 to 5); ran for 5.0 s at once (median of the longest; 9.0 s at most)"
        );
    }
}
