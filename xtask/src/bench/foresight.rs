//! How the scheduler of this repository does: beside its own baseline, the kernel's own scheduler and others, in the test
//! machine. What happens there is in `system-tests/src/jobs/rounds.rs`; this module owns what its lines mean: ratios within
//! rounds, and that no number counts by which equals differ.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use auto_ext_evidence::{Better, Effect, LogRatio, median};
use serde::Deserialize;

use super::answer::percent;
use super::costs::{Cost, told_costs};
use super::records::records;
use crate::command::step;
use crate::debian;
use crate::machine::{Kernel, Machine, Role, SYSTEM_TESTS};
use crate::schedulers::own_example;

/// How many rounds there are, if nothing else is said.
const ROUNDS: u32 = 10;
/// The machine has two last-level caches.
const SOCKETS: u32 = 2;
const CPUS: u32 = 4;
/// How long a contender may take for all jobs, how many there are, and the costs.
const TURN: Duration = Duration::from_secs(10 * 60);
const TURNS: u32 = 7;
const COSTS: u32 = 3;

/// What is equal, in this order: the harness has to find no difference.
const EQUAL: [[&str; 2]; 2] = [["baseline again", "baseline"], ["shadow", "baseline"]];
/// What is compared with what.
const COMPARED: [[&str; 2]; 6] = [
    ["act", "baseline"],
    ["act", "kernel"],
    ["shadow", "kernel"],
    ["baseline", "kernel"],
    ["rusty", "kernel"],
    ["bpfland", "kernel"],
];

/// What is printed with whatever was found.
const NOT_SHOWN: &str = "\
Not shown here: an emulator has no caches, no frequencies and no SMT, so that what migrations cost is not in these numbers; its
switches, wake-ups and BPF programs take many times as long as on real CPUs, and four emulated CPUs share fewer real ones.";

/// What tells how long the arithmetic takes on real CPUs.
const ARITHMETIC: &str = "arithmetic_cost";

/// How much is compared.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// How many rounds; 10 if it is not given. Of fewer than six no interval is made, and so no verdict
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Only the jobs with this in their name
    #[arg(long)]
    only: Option<String>,
    /// Where the random order of who comes first begins; printed if it is not given
    #[arg(long)]
    seed: Option<u64>,
}

/// A line of the machine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Measured(Measured),
    Cost(Cost),
    Failed {
        round: u32,
        contender: String,
        error: String,
    },
    Progress(Progress),
}

/// How many turns are done, of how many, after how many seconds.
#[derive(Debug, Deserialize)]
struct Progress {
    done: u64,
    of: u64,
    seconds: u64,
}

/// One number of one job: microseconds, or a count of migrations.
#[derive(Debug, Deserialize)]
struct Measured {
    round: u32,
    contender: String,
    job: String,
    what: String,
    value: f64,
}

/// Compares.
pub(super) fn foresight(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let rounds = arguments.rounds.unwrap_or(if quick { 1 } else { ROUNDS });
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let only = arguments.only.as_deref().or(quick.then_some("pipe"));
    debian::ensure_packages()?;
    let machine = Machine::new(Kernel::Role(Role::Newest))
        .cpus(CPUS)
        .sockets(SOCKETS)
        .memory("3G")
        .with_programs()
        .timeout(TURN * (TURNS * rounds + COSTS));
    let version = machine.prepare()?;
    let command = [
        SYSTEM_TESTS,
        "rounds",
        &rounds.to_string(),
        &seed.to_string(),
        only.unwrap_or_default(),
    ]
    .map(str::to_owned);
    let (all, ended) = records(&machine, &command, told);
    writeln!(
        out,
        "Linux {version}, {CPUS} emulated CPUs with {SOCKETS} last-level caches, {rounds} rounds, --seed {seed}; ratios within rounds,\n\
         + is better (faster, fewer migrations), in parentheses the interval of 95 %."
    )?;
    out.write_all(report(&all).as_bytes())?;
    writeln!(out, "{NOT_SHOWN}")?;
    let arithmetic = step("timing the arithmetic", || own_example(ARITHMETIC))?;
    writeln!(
        out,
        "\nThe arithmetic alone, as BPF on the machine that runs this, which is not emulated, each time:\n{}",
        arithmetic.trim_end()
    )?;
    ended
}

/// One line, as it is told on the way.
fn told(record: &Record) -> String {
    match record {
        Record::Measured(Measured {
            round,
            contender,
            job,
            what,
            value,
        }) => format!("{round}: {contender}: {job}, {what}: {value:.0}"),
        Record::Cost(cost) => format!("costs of {} are counted", cost.mode),
        Record::Failed { .. } => failure(record).unwrap_or_default(),
        Record::Progress(progress) => progress.to_string(),
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { done, of, seconds } = *self;
        let left = of.saturating_sub(done) * seconds / done.max(1);
        let [took, left] = [seconds, left].map(|seconds| seconds.div_ceil(60));
        write!(
            f,
            "{done} of {of} turns after {took} min, some {left} min are left"
        )
    }
}

fn failure(record: &Record) -> Option<String> {
    let Record::Failed {
        round,
        contender,
        error,
    } = record
    else {
        return None;
    };
    Some(format!("round {round}, {contender}: {error}"))
}

/// All that was found.
fn report(all: &[Record]) -> String {
    let measured: Vec<&Measured> = all
        .iter()
        .filter_map(|record| match record {
            Record::Measured(measured) => Some(measured),
            _ => None,
        })
        .collect();
    let mut text = String::new();
    for failure in all.iter().filter_map(failure) {
        text += &format!("not counted: {failure}\n");
    }
    let mut seen = BTreeSet::new();
    let mut sound = 0;
    for one in &measured {
        if seen.insert((&one.job, &one.what)) {
            let table = Table::of(&measured, one);
            sound += u32::from(table.is_sound());
            text += &table.to_string();
        }
    }
    let total = seen.len();
    text += &format!(
        "No difference between equals by {sound} of {total} numbers; of 20 that are sound one is expected to show some by chance.\n"
    );
    let costs: Vec<&Cost> = all
        .iter()
        .filter_map(|record| match record {
            Record::Cost(cost) => Some(cost),
            _ => None,
        })
        .collect();
    text + &told_costs(&costs)
}

/// What one number says.
struct Table<'a> {
    of_it: Vec<&'a Measured>,
    equal: Vec<([&'static str; 2], Option<Effect>)>,
    compared: Vec<([&'static str; 2], Option<Effect>)>,
}

impl<'a> Table<'a> {
    /// Of all that is about the same as `one`.
    fn of(all: &[&'a Measured], one: &Measured) -> Self {
        let is_it = |other: &&&Measured| (&other.job, &other.what) == (&one.job, &one.what);
        let of_it: Vec<&Measured> = all.iter().filter(is_it).copied().collect();
        let effects = |pairs: &[[&'static str; 2]]| {
            let effect = |pair: &[&'static str; 2]| (*pair, Effect::of(&ratios(&of_it, *pair)));
            pairs.iter().map(effect).collect()
        };
        Self {
            equal: effects(&EQUAL),
            compared: effects(&COMPARED),
            of_it,
        }
    }

    /// Equals do not differ.
    fn is_sound(&self) -> bool {
        self.equal.iter().all(|(_, effect)| {
            let interval = effect.and_then(|effect| effect.interval);
            interval.is_some_and(|interval| interval.low <= 0.0 && interval.high >= 0.0)
        })
    }

    /// The middle of what one contender had.
    fn median(&self, contender: &str) -> Option<f64> {
        let of_it = self.of_it.iter().filter(|one| one.contender == contender);
        median(of_it.map(|one| one.value))
    }

    fn verdict(&self, effect: &Effect) -> &'static str {
        match effect.interval {
            None => "too few rounds",
            Some(_) if !self.is_sound() => "void",
            Some(interval) if interval.low > 0.0 => "better",
            Some(interval) if interval.high < 0.0 => "worse",
            Some(_) => "no difference",
        }
    }
}

impl std::fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(one) = self.of_it.first() else {
            return Ok(());
        };
        write!(f, "\n{}, {}", one.job, one.what)?;
        let unit = if one.what == "migrations" { "" } else { " us" };
        for contender in ["kernel", "baseline", "act"] {
            if let Some(median) = self.median(contender) {
                write!(f, "; {contender} {median:.0}{unit}")?;
            }
        }
        writeln!(f)?;
        for ([this, that], effect) in &self.equal {
            let verdict = match effect.and_then(|effect| effect.interval) {
                None => "too few rounds",
                Some(interval) if interval.low > 0.0 || interval.high < 0.0 => "EQUALS DIFFER",
                Some(_) => "no difference, as they are equal",
            };
            writeln!(f, "    {}  {verdict}", size(this, that, effect.as_ref()))?;
        }
        for ([this, that], effect) in &self.compared {
            let verdict = effect.as_ref().map_or("", |effect| self.verdict(effect));
            writeln!(f, "    {}  {verdict}", size(this, that, effect.as_ref()))?;
        }
        Ok(())
    }
}

/// Who beside whom, and by how much.
fn size(this: &str, that: &str, effect: Option<&Effect>) -> String {
    let size = match effect {
        None => "no round".to_owned(),
        Some(Effect { median, interval }) => {
            let range = interval.map_or_else(String::new, |interval| {
                format!(" ({} to {})", percent(interval.low), percent(interval.high))
            });
            format!("{} %{range}", percent(*median))
        }
    };
    format!("{:<26} {size:<26}", format!("{this} / {that}"))
}

/// What each round says in which both have a number above 0: a count of migrations may be 0.
fn ratios(of_it: &[&Measured], [this, that]: [&str; 2]) -> Vec<LogRatio> {
    let of = |contender: &str, round: u32| {
        let mut found = of_it.iter();
        found.find(|one| one.contender == contender && one.round == round)
    };
    let rounds: BTreeSet<u32> = of_it.iter().map(|one| one.round).collect();
    let ratio = |round| {
        let (this, that) = (of(this, round)?, of(that, round)?);
        LogRatio::of(this.value, that.value, Better::Lower).ok()
    };
    rounds.into_iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(round: u32, contender: &str, value: f64) -> Record {
        let line = format!(
            r#"{{"measured":{{"round":{round},"contender":"{contender}","job":"pipe","what":"time","value":{value}}}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    /// Eight rounds, in which `again` is that much slower than the baseline, and what acts takes half the time.
    fn rounds(again: f64) -> Vec<Record> {
        let wobble = |round: u32| 1.0 + 0.01 * f64::from(round % 3) - 0.01;
        (1..=8)
            .flat_map(|round| {
                [
                    measured(round, "baseline", 100.0),
                    measured(round, "baseline again", again * wobble(round)),
                    measured(round, "shadow", 100.0 * wobble(round)),
                    measured(round, "act", 50.0),
                ]
            })
            .collect()
    }

    #[test]
    fn half_the_time_is_better_where_equals_do_not_differ() {
        let said = report(&rounds(100.0));
        assert!(
            said.contains("pipe, time; baseline 100 us; act 50 us\n"),
            "{said}"
        );
        let line = said.lines().find(|line| line.contains("act / baseline"));
        assert!(line.unwrap().ends_with("better"), "{said}");
        assert!(said.contains("by 1 of 1 numbers"), "{said}");
        // Nobody was there of these.
        assert!(said.contains("no round"), "{said}");
    }

    #[test]
    fn nothing_counts_where_equals_differ() {
        let said = report(&rounds(120.0));
        assert!(said.contains("EQUALS DIFFER"), "{said}");
        let line = said.lines().find(|line| line.contains("act / baseline"));
        assert!(line.unwrap().ends_with("void"), "{said}");
        assert!(said.contains("by 0 of 1 numbers"), "{said}");
    }

    #[test]
    fn failures_are_told() {
        let failed = r#"{"failed":{"round":2,"contender":"rusty","error":"it did not last"}}"#;
        let said = report(&[serde_json::from_str(failed).unwrap()]);
        assert!(
            said.contains("not counted: round 2, rusty: it did not last"),
            "{said}"
        );
    }

    #[test]
    fn how_far_it_is_is_told_on_the_way() {
        let record = r#"{"progress":{"done":7,"of":70,"seconds":240}}"#;
        let told = told(&serde_json::from_str(record).unwrap());
        assert_eq!(told, "7 of 70 turns after 4 min, some 36 min are left");
    }
}
