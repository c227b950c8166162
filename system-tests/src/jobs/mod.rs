//! Jobs: a fixed amount of work each, by which schedulers are compared. `auto-ext compare` runs them, as a person would
//! have it run a command; this module prepares a job, has it compared, and prints the answer. `table.rs` says what the jobs
//! are; `timed.rs`, `bursts.rs` and `pipe.rs` are those that no program of others is; `plants.rs` has comparisons whose truth
//! is known, and `tried.rs` trials. `rounds.rs` has jobs done in rounds under schedulers that it starts by itself, without auto-ext.

mod bursts;
mod costs;
mod pipe;
pub(crate) mod plants;
pub(crate) mod rounds;
mod table;
mod timed;
pub(crate) mod tried;

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use regex::Regex;
use serde_json::{Value, json};

use crate::load::{self, Running};
use crate::{loads, policy, service};
use table::{ALL, Job, Judged};

/// A person's own choice: the comparison is not kept short by the limit of switches.
const POLICY: &str =
    "version: 1\nrules: [{class: idle, use: [kernel]}]\nstability: {max_switches_per_hour: 3600}\n";

/// What is compared, and how.
struct Comparison<'a> {
    /// What all others are compared with, and the others.
    schedulers: &'a [&'a str],
    /// How many pairs of each at most.
    pairs: &'a str,
    /// By what the turns' order is had again.
    seed: Option<u64>,
}

/// Compares schedulers by every job whose name contains the word, and prints a line of JSON for each: its name, and the
/// comparison's answer or what went wrong. The words: the schedulers with commas between, how many pairs, and a job's name.
pub(crate) fn compare(words: &[&str]) -> anyhow::Result<()> {
    let (schedulers, pairs, part) = match words {
        [schedulers, pairs] => (schedulers, pairs, ""),
        [schedulers, pairs, part] => (schedulers, pairs, *part),
        _ => bail!("which schedulers, and how many pairs?"),
    };
    let schedulers: Vec<&str> = schedulers.split(',').collect();
    let comparison = Comparison {
        schedulers: &schedulers,
        pairs,
        seed: None,
    };
    let _server = make_ready(POLICY)?;
    for job in ALL.iter().filter(|job| job.name.contains(part)) {
        let answer = loads::prepare_for(job.programs, job.prepare)
            .and_then(|()| compare_by(job, &comparison));
        loads::tidy()?;
        let mut line = json!({ "job": job.name, "judged": job.judged_by() });
        match answer {
            Ok(answer) => line["answer"] = answer,
            Err(error) => line["error"] = Value::String(format!("{error:#}")),
        }
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(())
}

/// The disk, the servers, and the service with this policy.
fn make_ready(policy: &str) -> anyhow::Result<Running> {
    let server = load::prepare()?;
    policy::write(policy)?;
    service::restart()?;
    Ok(server)
}

/// The answer of `auto-ext compare`.
fn compare_by(job: &Job, comparison: &Comparison<'_>) -> anyhow::Result<Value> {
    let mut compare = Command::new("auto-ext");
    compare.arg("compare").args(comparison.schedulers);
    compare.args(["--json", "--runs", comparison.pairs]);
    if let Some(seed) = comparison.seed {
        compare.args(["--seed", &seed.to_string()]);
    }
    if let Judged::Number { expression, .. } = job.judged {
        compare.args(["--measure", expression, "--lower"]);
    }
    compare.args(["--", "sh", "-c", job.command]);
    compare.envs(loads::variables()?);
    // What it says on its way goes where ours goes.
    let output = compare.stderr(Stdio::inherit()).output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}, and no answer", output.status))?;
    if let Some(error) = answer["error"].as_str() {
        bail!("{error}");
    }
    Ok(answer)
}

/// Does the job of that name, one of our own.
pub(crate) fn run(name: &str) -> anyhow::Result<()> {
    match name {
        "alternating" => bursts::run(bursts::Rule::Alternating),
        "alternating-always" => bursts::go_on(bursts::Rule::Alternating),
        "coupled" => bursts::run(bursts::Rule::Coupled),
        "pipe" => pipe::run(),
        name => timed::run(name),
    }
}

/// How long a job took, in seconds, and what it said.
fn done(job: &Job) -> anyhow::Result<(f64, String)> {
    let begin = Instant::now();
    let output = Command::new("sh")
        .args(["-c", job.command])
        .envs(loads::variables()?)
        .stderr(Stdio::null())
        .output()?;
    let took = begin.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{}: {}", job.name, output.status);
    Ok((took, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// The number in a text, the first group of this expression.
fn number(expression: &str, text: &str) -> anyhow::Result<f64> {
    let found = Regex::new(expression)?.captures(text);
    let number = found.and_then(|found| found.get(1)?.as_str().parse().ok());
    number.with_context(|| format!("no number in `{text}`"))
}
