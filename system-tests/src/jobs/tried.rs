//! Trials whose truth is known: beside a load the daemon itself tries a scheduler that is bad because it was made so, or one that is
//! better than a kernel that was made worse, until its table says what it is. That a plant is what it is called is shown first by
//! the yardstick of `plants.rs`. What was proven because the kernel was made worse is to be out again once that is as it was.

use std::fs;
use std::io::{self, Write as _};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::plants::{ByHand, LongSlices, yardstick};
use super::{POLICY, make_ready};
use crate::broken;
use crate::loads::WokenBesideHogs;
use crate::service::{self, Bus};
use crate::tests::trials::{Load, TABLE, begin};

/// Of all that runs: tasks that never sleep, and some that are woken.
const CLASS: &str = "idle";
/// After so long nothing more is expected; a pair takes about half a minute in an emulated machine.
const LONGEST: Duration = Duration::from_mins(25);
/// The time between two looks at what is known.
const LOOK: Duration = Duration::from_secs(2);
/// How long a scheduler has settled before it is measured by hand, and how long that takes.
const SETTLES: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(5);

/// A trial whose truth is known.
struct Plant {
    name: &'static str,
    /// In the policy, and how it is run.
    scheduler: &'static str,
    /// The kernel's own scheduler by hand, and this one, which differ clearly unless they are equal; `None` where the kernel's watchdog
    /// says what it is.
    by_hand: Option<[ByHand; 2]>,
    /// How many tasks for each CPU never sleep while some are woken; `None` is the load of the test of trials, whose noise is known
    /// soon, too, where other things run beside the machine.
    hogs: Option<usize>,
    /// The kernel's own scheduler has long slices.
    long_slices: bool,
    truth: &'static str,
    /// It is to be known after so many pairs.
    pairs: u64,
}

/// What was proven is to be out again after so many pairs, once it is no better any more: four at a time, in every tenth trial.
const PAIRS_TO_DEMOTE: u64 = 30;
const LONGEST_TO_DEMOTE: Duration = Duration::from_mins(40);

const PLANTS: [Plant; 5] = [
    Plant {
        name: "the kernel's own with slices of 100 ms",
        // Long slices, too, but who is woken comes first. With its own, much shorter ones it took more of the time of emulated CPUs
        // than a guard suffers; with ones of 70 ms RCU stalled once.
        scheduler: "patient",
        by_hand: Some([None, Some(("bpfland", &["-s", "40000"]))]),
        // Who is woken beside one hog waits for it only now and then, however long its slices are.
        hogs: Some(2),
        long_slices: true,
        truth: "better",
        pairs: 20,
    },
    Plant {
        name: "nothing is scheduled",
        scheduler: "partial",
        by_hand: Some([None, Some(("rusty", &["--partial"]))]),
        hogs: Some(1),
        long_slices: false,
        truth: EQUAL,
        pairs: 10,
    },
    Plant {
        name: "idle is injected",
        scheduler: "throttled",
        by_hand: Some([None, Some(("bpfland", &["--throttle-us", "100000"]))]),
        hogs: Some(1),
        long_slices: false,
        truth: "worse",
        pairs: 10,
    },
    Plant {
        name: "slices of 200 ms",
        scheduler: "slow",
        by_hand: Some([None, Some(("rusty", &SLOW))]),
        hogs: Some(1),
        long_slices: false,
        truth: "worse",
        pairs: 10,
    },
    Plant {
        name: "stalls",
        scheduler: "stalling",
        by_hand: None,
        hogs: None,
        long_slices: false,
        truth: "worse",
        pairs: 10,
    },
];

const EQUAL: &str = "equal";
const AT_A_COST: &str = "better at a cost";
/// The e-value from which a single challenger is better.
const BETTER_AT: f64 = 20.0;

/// One queue, whose tasks run for so long whoever waits: what bpfland does for those that sleep would make up for it.
const SLOW: [&str; 5] = [
    "--fifo-sched",
    "--slice-us-underutil",
    "200000",
    "--slice-us-overutil",
    "200000",
];

/// Has each plant whose name contains the word tried so often, each time with nothing known, and prints a line of JSON for each.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let (times, part) = match words {
        [times] => (times, ""),
        [times, part] => (times, *part),
        _ => bail!("how many trials of each?"),
    };
    let times: u64 = times.parse().context("how many trials?")?;
    let stalling = broken::stalling()?;
    let _server = make_ready(POLICY)?;
    for plant in PLANTS.iter().filter(|plant| plant.name.contains(part)) {
        let is_clear = match plant.by_hand.zip(plant.hogs) {
            None => true,
            Some((by_hand, hogs)) => {
                let _slices = plant.long_slices.then(LongSlices::set).transpose()?;
                let load = WokenBesideHogs::start(hogs)?;
                let differ = yardstick(plant.name, by_hand, || {
                    sleep(SETTLES);
                    load.lateness(MEASURED)
                })?;
                differ == (plant.truth != EQUAL)
            }
        };
        for number in 1..=times {
            for line in tried(plant, &stalling, is_clear, number == times)? {
                writeln!(io::stdout(), "{line}")?;
            }
        }
    }
    Ok(())
}

/// What came of trials of the scheduler, and, the last time, of those after that, if it was proven beside a kernel that was made worse.
fn tried(
    plant: &Plant,
    stalling: &str,
    is_clear: bool,
    is_last: bool,
) -> anyhow::Result<Vec<Value>> {
    let slow = SLOW.map(|word| format!("'{word}'")).join(", ");
    let policy = format!(
        "version: 1\nrules: [{{class: {CLASS}, use: [kernel], try: [{}], goal: latency}}]\n\
         schedulers:\n  throttled: {{command: scx_bpfland, args: [--throttle-us, '100000']}}\n  \
         slow: {{command: scx_rusty, args: [{slow}]}}\n  partial: {{command: scx_rusty, args: [--partial]}}\n  \
         patient: {{command: scx_bpfland, args: [-s, '40000']}}\n  stalling: {{command: {stalling}}}\n\
         trials: {{mode: on, arm: 6s}}\nstability: {{max_switches_per_hour: 3600}}\n",
        plant.scheduler
    );
    let _bus = begin(&policy)?;
    let slices = plant.long_slices.then(LongSlices::set).transpose()?;
    let woken = plant.hogs.map(WokenBesideHogs::start).transpose()?;
    let load = woken.is_none().then(Load::begin).transpose()?;
    let first = Asked {
        name: plant.name.to_owned(),
        truth: plant.truth,
        is_clear,
        until: "open",
        pairs: plant.pairs,
        longest: LONGEST,
    };
    let mut lines = vec![first.told(0)?];
    if is_last && slices.is_some() && lines[0]["verdict"] == plant.truth {
        drop(slices);
        let then = Asked {
            name: format!("{}, and then its own", plant.name),
            truth: "worse then",
            is_clear: true,
            until: plant.truth,
            pairs: PAIRS_TO_DEMOTE,
            longest: LONGEST_TO_DEMOTE,
        };
        lines.push(then.told(lines[0]["pairs"].as_u64().unwrap_or_default())?);
    }
    drop((woken, load));
    Ok(lines)
}

/// What trials of one scheduler are asked.
struct Asked {
    name: String,
    truth: &'static str,
    is_clear: bool,
    /// What is said of it as long as there is no answer.
    until: &'static str,
    pairs: u64,
    longest: Duration,
}

impl Asked {
    /// What is known in the end, with what `pairs` there were before.
    fn told(&self, before: u64) -> anyhow::Result<Value> {
        // The guards stay as they are; how much of an hour may be spent on trials does not.
        service::say("auto-ext learn --now 2h")?;
        let (begun, at) = (Instant::now(), SystemTime::now());
        let mut told = Value::Null;
        let (verdict, row, pairs) = loop {
            sleep(LOOK);
            // What stalls lets nobody ask.
            let known = known().unwrap_or_default();
            let row = row(&known);
            // Who failed, where no guard was asked, is quarantined.
            let verdict = match verdict(&row) {
                "open" if is_in_the_way(&known, "can be started") => "benched",
                verdict => verdict,
            };
            if row["pairs"] != told {
                eprintln!(
                    "{}, pairs and effects: {}, {}, nearest guard: {}",
                    self.name, row["pairs"], row["last"], row["nearest_guard"]
                );
                told = row["pairs"].clone();
            }
            // The switches that an hour has for trials are made, which is soon where there are no breaks between them.
            if is_in_the_way(&known, "spent") {
                forget_what_was_spent()?;
            }
            let pairs = row["pairs"].as_u64().unwrap_or_default();
            let pairs = pairs.saturating_sub(before);
            let is_told = ![self.until, AT_A_COST].contains(&verdict) && !row.is_null();
            if is_told || pairs >= self.pairs || begun.elapsed() > self.longest {
                break (verdict, row, pairs);
            }
        };
        let took = begun.elapsed().as_secs();
        // Why it came to nothing, if it did.
        let in_the_way = known().map(|known| known["no_trial"].clone());
        Ok(json!({
            "plant": self.name, "truth": self.truth, "is_clear": self.is_clear, "verdict": verdict,
            "pairs": pairs, "effect": row["effect"], "guard": row["nearest_guard"], "why": row["benched_for"], "in_the_way": in_the_way.unwrap_or_default(),
            "seconds": took, "ran_for": longest_run(at)?,
        }))
    }
}

/// What is known of the only challenger, beside what pairs of the kernel's own scheduler with itself say of chance; null while
/// nothing is.
fn row(known: &Value) -> Value {
    let mut rows = known["classes"][0]["found"]
        .as_array()
        .into_iter()
        .flatten();
    let row = rows.find(|row| row["scheduler"] != "kernel");
    row.cloned().unwrap_or_default()
}

/// Of the reasons for which nothing is tried now, one has these words.
fn is_in_the_way(known: &Value, words: &str) -> bool {
    let reasons = known["no_trial"].as_array();
    reasons.is_some_and(|reasons| {
        let mut reasons = reasons.iter().filter_map(Value::as_str);
        reasons.any(|reason| reason.contains(words))
    })
}

/// How much of an hour trials take is not what is measured here.
fn forget_what_was_spent() -> anyhow::Result<()> {
    service::stop()?;
    let mut table: Value = serde_json::from_slice(&fs::read(TABLE)?)?;
    table["budget"] = json!({ "switches": [], "exposures": [] });
    fs::write(TABLE, table.to_string())?;
    service::say("systemctl start auto-ext.service")?;
    Bus::connect().map(drop)
}

/// All that is known of trials.
fn known() -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&service::say(
        "auto-ext trials --json",
    )?)?)
}

/// What is said of it.
fn verdict(row: &Value) -> &'static str {
    if row["benched_for"].is_string() {
        return "benched";
    }
    // As `compare` calls it: it is not to run for that, and may still be when the guard recovers.
    let is_lost = row["nearest_guard"][1].as_f64() >= Some(1.0);
    let is_open = row["is_proven"] == false && row["closed"].is_null();
    if is_lost && is_open && row["e_better"].as_f64() >= Some(BETTER_AT) {
        return AT_A_COST;
    }
    match (row["is_proven"].as_bool(), row["closed"].as_str()) {
        (Some(true), _) => "better",
        (_, Some("no-difference")) => "no difference",
        (_, Some(_)) => "worse",
        _ => "open",
    }
}

/// For how many seconds a scheduler of this trial, which began then, ran at most.
fn longest_run(begun: SystemTime) -> anyhow::Result<f64> {
    let begun = begun.duration_since(UNIX_EPOCH)?;
    let entries = service::history(200)?;
    let at = |entry: &Value| Duration::from_micros(entry["at"].as_u64().unwrap_or_default());
    let changes: Vec<&Value> = entries
        .iter()
        .filter(|entry| at(entry) >= begun)
        .filter(|entry| matches!(entry["event"].as_str(), Some("switched" | "exited")))
        .collect();
    let runs = changes.windows(2).filter(|both| both[0]["to"] != "kernel");
    let runs = runs.map(|both| at(both[1]).saturating_sub(at(both[0])));
    Ok(runs.max().unwrap_or_default().as_secs_f64())
}
