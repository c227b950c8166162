//! How often `auto-ext compare` is right where the truth is known, in the test machine. What is compared there is in
//! `system-tests/src/jobs/plants.rs`; this module owns what its lines mean, and counts.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::answer::{Answer, Challenger, percent};
use super::records::Plants;
use super::statistics::spread;

/// How often each is compared, if nothing else is said.
const TIMES: u32 = 20;

/// How long one comparison may take, and how many plants there are at most.
const COMPARISON: Duration = Duration::from_secs(15 * 60);
const PLANTS: u32 = 4;

/// How much is compared.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// Only the plants with this in their name
    #[arg(long)]
    only: Option<String>,
    /// How often each is compared, with another seed each time; 20 times if it is not given
    #[arg(long)]
    times: Option<u32>,
}

/// One comparison.
#[derive(Debug, Deserialize)]
struct Compared {
    plant: String,
    job: String,
    seed: u64,
    truth: String,
    /// The yardstick shows the truth.
    is_clear: bool,
    answer: Option<Answer>,
    error: Option<String>,
}

/// Compares.
pub(super) fn verdicts(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let times = arguments.times.unwrap_or(if quick { 1 } else { TIMES });
    let only = arguments.only.as_deref().or(quick.then_some("idle"));
    let plants = Plants {
        job: "plants",
        times,
        only,
        longest: COMPARISON * times * PLANTS,
    };
    let (version, all, ended) = plants.records(told)?;
    writeln!(
        out,
        "Linux {version}; each compared {times} times, with other seeds"
    )?;
    for of in all.chunk_by(|a, b| (&a.plant, &a.job) == (&b.plant, &b.job)) {
        writeln!(out, "{}", summary(of))?;
    }
    ended
}

/// One comparison, as it is told on the way.
fn told(one: &Compared) -> String {
    let Compared {
        plant, job, seed, ..
    } = one;
    let what = match (one.verdict(), &one.error) {
        (Some(challenger), _) => {
            let size = challenger
                .effect
                .as_ref()
                .map_or(0.0, |effect| effect.median);
            format!(
                "{}, {} %, {} pairs",
                challenger.verdict,
                percent(size),
                challenger.pairs
            )
        }
        (None, error) => error.clone().unwrap_or_default(),
    };
    format!("{plant}, {job}, seed {seed}: {what}")
}

/// All comparisons of one plant by one job.
fn summary(all: &[Compared]) -> String {
    let Some(first) = all.first() else {
        return String::new();
    };
    let named = |verdict: &str| {
        let has = |one: &&Compared| one.verdict().is_some_and(|it| it.verdict == verdict);
        all.iter().filter(has).count()
    };
    let pairs: Vec<f64> = all
        .iter()
        .filter_map(Compared::verdict)
        .filter(|challenger| challenger.verdict != "open")
        .map(|challenger| f64::from(challenger.pairs))
        .collect();
    let after = if pairs.is_empty() {
        String::new()
    } else {
        let (least, median, most) = spread(&pairs);
        format!("; decided after {median} pairs ({least} to {most})")
    };
    let void = if first.is_clear {
        ""
    } else {
        "; void: by hand the two do not differ clearly"
    };
    let failed = match all.iter().filter(|one| one.answer.is_none()).count() {
        0 => String::new(),
        failed => format!(", {failed} did not come to an answer"),
    };
    format!(
        "{}, {}: of {}, which are {}, {} better, {} worse, {} no difference, {} not decided{failed}{after}{void}",
        first.plant,
        first.job,
        all.len(),
        first.truth,
        named("better"),
        named("worse"),
        named("no difference"),
        named("open")
    )
}

impl Compared {
    fn verdict(&self) -> Option<&Challenger> {
        self.answer.as_ref()?.challengers.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(seed: u64, verdict: &str, pairs: u32) -> Compared {
        let line = format!(
            r#"{{"plant":"idle","job":"build","seed":{seed},"truth":"worse","is_clear":true,
                "answer":{{"challengers":[{{"scheduler":"throttled","verdict":"{verdict}","pairs":{pairs},"effect":{{"median":-0.3}}}}]}}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn verdicts_are_counted() {
        let all = [
            compared(1, "worse", 5),
            compared(2, "worse", 7),
            compared(3, "open", 10),
        ];
        assert_eq!(
            told(&all[0]),
            "idle, build, seed 1: worse, -25.9 %, 5 pairs"
        );
        assert_eq!(
            summary(&all),
            "idle, build: of 3, which are worse, 0 better, 2 worse, 0 no difference, 1 not decided; \
             decided after 6 pairs (5 to 7)"
        );
    }

    #[test]
    fn what_is_void_or_failed_is_said() {
        let line = r#"{"plant":"idle","job":"build","seed":1,"truth":"worse","is_clear":false,"error":"no"}"#;
        let one: Compared = serde_json::from_str(line).unwrap();
        let said = summary(&[one]);
        assert!(
            said.contains("1 did not come to an answer") && said.contains("void"),
            "{said}"
        );
    }
}
