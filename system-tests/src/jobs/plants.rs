//! Comparisons whose truth is known: equal schedulers, and ones that are worse because they were made so. That they are is
//! shown first by a yardstick that has nothing of auto-ext's: the job is timed by hand under each. A plant that does not show
//! there is void, and no comparison is judged by it.

use std::fs;
use std::io::{self, Write as _};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::table::{ALL, Job, Judged};
use super::{Comparison, compare_by, done, make_ready, number};
use crate::classify::start_scheduler;
use crate::{kernel, loads, service, wait};

/// Where the kernel says for how long its own scheduler lets a task run while others wait, in nanoseconds.
const SLICE: &str = "/sys/kernel/debug/sched/base_slice_ns";
/// A tenth of a second: so long that who is woken waits.
const LONG_SLICE: &str = "100000000";

/// A copy of bpfland, and bpfland as it injects idle: of each CPU's time a good part is wasted.
const POLICY: &str = "version: 1\nrules: [{class: idle, use: [kernel]}]\nschedulers:\n  \
    copy: {command: /usr/bin/scx_bpfland_copy}\n  \
    throttled: {command: scx_bpfland, args: [--throttle-us, '3000']}\n\
    stability: {max_switches_per_hour: 3600}\n";

/// How often each is timed by hand.
const TIMES: usize = 6;
/// How many of the job's numbers, where it is judged by one, are taken together for that.
const NUMBERS: u32 = 4;
/// How much further apart two that differ must be than the runs of one are.
const CLEAR: f64 = 3.0;

/// A comparison whose truth is known.
struct Plant {
    name: &'static str,
    /// As `auto-ext compare` is told them; the second is what is equal, better or worse.
    schedulers: [&'static str; 2],
    /// What each is by hand.
    by_hand: [ByHand; 2],
    jobs: &'static [&'static str],
    /// The kernel's own scheduler has long slices.
    long_slices: bool,
    pairs: &'static str,
    truth: &'static str,
}

const PLANTS: [Plant; 3] = [
    Plant {
        name: "equal",
        schedulers: ["bpfland", "copy"],
        by_hand: [Some(("bpfland", &[])), Some(("bpfland", &[]))],
        jobs: &["build", "wake-ups"],
        long_slices: false,
        pairs: "10",
        truth: "equal",
    },
    Plant {
        name: "idle is injected",
        schedulers: ["bpfland", "throttled"],
        by_hand: [
            Some(("bpfland", &[])),
            Some(("bpfland", &["--throttle-us", "3000"])),
        ],
        jobs: &["build"],
        long_slices: false,
        pairs: "10",
        truth: "worse",
    },
    Plant {
        name: "long slices",
        schedulers: ["kernel", "bpfland"],
        by_hand: [None, Some(("bpfland", &[]))],
        jobs: &["wake-ups"],
        long_slices: true,
        pairs: "20",
        truth: "better",
    },
];

/// Has each plant whose name contains the word compared so often, with another seed each time, and prints a line of JSON for
/// each comparison; before them what the yardstick says.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let (times, part) = match words {
        [times] => (times, ""),
        [times, part] => (times, *part),
        _ => anyhow::bail!("how many comparisons of each?"),
    };
    let times: u64 = times.parse().context("how many comparisons?")?;
    let _server = make_ready(POLICY)?;
    fs::copy("/usr/bin/scx_bpfland", "/usr/bin/scx_bpfland_copy")?;
    for plant in PLANTS.iter().filter(|plant| plant.name.contains(part)) {
        for name in plant.jobs {
            let job = ALL.iter().find(|job| job.name.contains(name));
            let job = job.context("no such job")?;
            loads::prepare_for(job.programs, job.prepare)?;
            let _slice = plant.long_slices.then(LongSlices::set).transpose()?;
            let name = format!("{}, {}", plant.name, job.name);
            let is_clear =
                yardstick(&name, plant.by_hand, || measured(job))? || plant.truth == "equal";
            for seed in 1..=times {
                compare(plant, job, seed, is_clear)?;
            }
            loads::tidy()?;
        }
    }
    Ok(())
}

fn compare(plant: &Plant, job: &Job, seed: u64, is_clear: bool) -> anyhow::Result<()> {
    let answer = compare_by(
        job,
        &Comparison {
            schedulers: &plant.schedulers,
            pairs: plant.pairs,
            seed: Some(seed),
        },
    );
    let mut line = json!({
        "plant": plant.name, "job": job.name, "seed": seed, "truth": plant.truth, "is_clear": is_clear,
    });
    match answer {
        Ok(answer) => line["answer"] = answer,
        Err(error) => line["error"] = Value::String(format!("{error:#}")),
    }
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// Which scheduler is started by hand, and with what; `None` is the kernel's own.
pub(super) type ByHand = Option<(&'static str, &'static [&'static str])>;

/// Measures by hand under two schedulers, in turns, and says whether they differ clearly.
pub(super) fn yardstick(
    name: &str,
    by_hand: [ByHand; 2],
    mut measure: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<bool> {
    service::stop()?;
    let mut logs = [const { Vec::new() }; 2];
    for _ in 0..TIMES {
        for (by_hand, logs) in by_hand.iter().zip(&mut logs) {
            let scheduler = by_hand
                .map(|(name, arguments)| start_scheduler(name, arguments))
                .transpose()?;
            logs.push(measure()?.ln());
            if scheduler.is_some() {
                drop(scheduler);
                wait::until("the kernel's own", &"kernel".to_owned(), kernel::scheduler)?;
            }
        }
    }
    service::restart()?;
    let [before, after] = logs.map(|mut logs| {
        logs.sort_by(f64::total_cmp);
        logs
    });
    let median = |logs: &[f64]| f64::midpoint(logs[TIMES / 2 - 1], logs[TIMES / 2]);
    // The middle half of the runs of one.
    let spread = |logs: &[f64]| logs[TIMES * 3 / 4] - logs[TIMES / 4];
    let apart = median(&after) - median(&before);
    let within = spread(&before).max(spread(&after));
    let is_clear = apart.abs() > CLEAR * within;
    eprintln!(
        "{name}: by hand the second takes {:+.1} %; runs of one are {:.1} % apart",
        100.0 * apart.exp_m1(),
        100.0 * within.exp_m1(),
    );
    Ok(is_clear)
}

/// What the job is judged by. Numbers are of a few seconds, in which chance has a large part: several are one.
fn measured(job: &Job) -> anyhow::Result<f64> {
    let Judged::Number { expression, .. } = job.judged else {
        return Ok(done(job)?.0);
    };
    let mut sum = 0.0;
    for _ in 0..NUMBERS {
        let (_, text) = done(job)?;
        sum += number(expression, &text).with_context(|| job.name.to_owned())?;
    }
    Ok(sum / f64::from(NUMBERS))
}

/// The kernel's own scheduler with long slices, until this is dropped.
pub(super) struct LongSlices(String);

impl LongSlices {
    pub(super) fn set() -> anyhow::Result<Self> {
        let before = fs::read_to_string(SLICE).with_context(|| SLICE.to_owned())?;
        fs::write(SLICE, LONG_SLICE).with_context(|| SLICE.to_owned())?;
        Ok(Self(before))
    }
}

impl Drop for LongSlices {
    fn drop(&mut self) {
        // In a machine that ends with its benchmark.
        let _ = fs::write(SLICE, self.0.trim());
    }
}
