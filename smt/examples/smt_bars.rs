//! Prints how the pure half of auto-ext-smt stands to its bars: plans against optima, times of planning, and decisions on
//! machines by chance. `cargo xtask bench smt` runs it. The number of seeds is its argument; asserts nothing.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use auto_ext_smt::plan::{Request, Scores, plans};
use auto_ext_smt::simulation::{Counting, Gain, Report, Scenario, run};
use serde_json::Value;

/// How many runs of each kind where it is not said.
const SEEDS: u64 = 200;
/// How often planning is timed.
const TIMES: usize = 20;

const PLAIN: Scenario = Scenario::plain(24);

/// What of a kind of runs is to hold beside the harm budget.
#[derive(Clone, Copy)]
enum Bar {
    /// At least this share proves to be better.
    AtLeast(f64),
    /// At most this share.
    AtMost(f64),
    /// Nothing but the harm budget.
    Harm,
}

fn main() -> Result<(), Box<dyn Error>> {
    let seeds = std::env::args()
        .nth(1)
        .map_or(Ok(SEEDS), |text| text.parse())?;
    let mut out = io::stdout().lock();
    optima(&mut out)?;
    times(&mut out)?;
    simulations(&mut out, seeds)?;
    Ok(())
}

/// What one group is worth beside another, as a file of optima has it.
fn scores_of(case: &Value, groups: usize) -> Scores {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let pair = |one: usize, other: usize| {
        if one == other {
            number(&case["self"][one])
        } else {
            number(&case["upper"][one][other - one - 1])
        }
    };
    Scores::new(groups, pair, |_| 1.0)
}

fn optima(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optimum.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    for (kind, bar) in [("model", 99.8), ("types", 99.8), ("uniform", 99.0)] {
        let mut least = f64::INFINITY;
        let of_kind = cases.iter().filter(|case| case["scores"] == kind);
        for case in of_kind.clone() {
            let groups = case["self"].as_array().map_or(0, Vec::len);
            let scores = scores_of(case, groups);
            let best = best(groups, &scores).ok_or("there is no plan")?;
            let optimum = case["optimum"].as_f64().ok_or("there is no optimum")?;
            least = least.min(100.0 * best / optimum);
        }
        let count = of_kind.count();
        let ok = verdict(least >= bar);
        writeln!(
            out,
            "plans, {kind} scores, {count} cases: at least {least:.2} % of the optimum (bar {bar} %) {ok}"
        )?;
    }
    Ok(())
}

/// What the best plan for so many groups of one worker each is worth.
fn best(groups: usize, scores: &Scores) -> Option<f64> {
    let (workers, threads) = (vec![1; groups], vec![2; groups / 2]);
    let request = Request {
        workers: &workers,
        threads: &threads,
        scores,
    };
    Some(plans(request, None, 1).first()?.total)
}

fn times(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    for (groups, bar) in [(64, 1.0), (512, 100.0)] {
        let mut chance = fastrand::Rng::with_seed(1);
        let scores = Scores::new(groups, |_, _| 1.2 + 0.6 * chance.f64(), |_| 1.0);
        let mut times: Vec<f64> = (0..TIMES)
            .map(|_| {
                let begin = Instant::now();
                black_box(best(groups, black_box(&scores)));
                begin.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let (fastest, median) = (times[0], times[TIMES / 2]);
        let ok = verdict(median < bar);
        writeln!(
            out,
            "a plan of {groups} workers: {median:.2} ms, at best {fastest:.2} ms (bar {bar} ms) {ok}"
        )?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u32>().ok());
    if let Some(peak) = peak {
        let peak = f64::from(peak) / 1024.0;
        let ok = verdict(peak < 16.0);
        writeln!(
            out,
            "memory of all this process, the files of optima included: {peak:.1} MiB (bar 16) {ok}"
        )?;
    }
    Ok(())
}

fn simulations(out: &mut impl Write, seeds: u64) -> Result<(), Box<dyn Error>> {
    writeln!(
        out,
        "\n{:<44} {:>5} {:>8} {:>7} {:>8} {:>7} {:>7} {:>8}  bar",
        "machines by chance", "runs", "adopted", "proven", "gain", "trials", "trying", "adopted"
    )?;
    writeln!(out, "{:>83} harm {:>5} harm", "time", "")?;
    for jobs in [4, 8, 16, 32, 64] {
        for (noise, correlation) in [(0.01, 0.0), (0.05, 0.0), (0.01, 0.5), (0.05, 0.5)] {
            for (gain, bar) in [
                (Gain::Much, Bar::AtLeast(0.95)),
                (Gain::None, Bar::AtMost(0.005)),
            ] {
                let scenario = Scenario {
                    jobs,
                    gain,
                    noise,
                    correlation,
                    ..PLAIN
                };
                simulation(out, "", scenario, bar, seeds)?;
            }
        }
    }
    for jobs in [4, 16, 64] {
        let plain = Scenario { jobs, ..PLAIN };
        let phases = Scenario {
            phases: true,
            ..plain
        };
        simulation(out, "jobs that change", phases, Bar::Harm, seeds)?;
        let comes_and_goes = Scenario {
            comes_and_goes: true,
            ..plain
        };
        simulation(
            out,
            "jobs that come and go",
            comes_and_goes,
            Bar::Harm,
            seeds,
        )?;
        let lying = Scenario {
            counting: Counting::Lying,
            ..plain
        };
        simulation(out, "counters that lie", lying, Bar::AtMost(0.005), seeds)?;
        let absent = Scenario {
            counting: Counting::Absent,
            ..plain
        };
        simulation(out, "no counters", absent, Bar::AtMost(0.0), seeds)?;
    }
    Ok(())
}

fn simulation(
    out: &mut impl Write,
    what: &str,
    scenario: Scenario,
    bar: Bar,
    seeds: u64,
) -> Result<(), Box<dyn Error>> {
    let reports: Vec<Report> = (0..seeds).filter_map(|seed| run(scenario, seed)).collect();
    let gains = match scenario.gain {
        Gain::Much => "5 % to gain",
        Gain::None => "nothing to gain",
    };
    let noise = 100.0 * scenario.noise;
    let follows = if scenario.correlation > 0.0 {
        " that lasts"
    } else {
        ""
    };
    let kind = if what.is_empty() {
        format!(
            "{} jobs, {gains}, noise {noise:.0} %{follows}",
            scenario.jobs
        )
    } else {
        format!("{} jobs, {what}", scenario.jobs)
    };
    let all = reports.len() as f64;
    let share =
        |is: &dyn Fn(&&Report) -> bool| reports.iter().filter(is).count() as f64 / all.max(1.0);
    let most = |of: &dyn Fn(&Report) -> f64| reports.iter().map(of).fold(0.0, f64::max);
    let (adopted, proven) = (
        share(&|report| report.adopted),
        share(&|report| report.proven),
    );
    let gain = reports.iter().map(|report| report.gain).sum::<f64>() / all.max(1.0);
    let trial_share = most(&|report| report.trial_share);
    let trying = most(&|report| report.harm_trying as f64);
    let much = most(&|report| report.much_harm_trying as f64);
    let harm = most(&|report| report.harm_adopted as f64);
    let misplaced = most(&|report| f64::from(report.misplaced));
    let masks = most(&|report| report.masks_outside as f64);
    let is_harmless = masks <= 10.0
        && trial_share <= 0.04
        && trying <= 20.0
        && much <= 10.0
        && harm <= 90.0
        && misplaced == 0.0;
    let (bar, holds) = match bar {
        Bar::AtLeast(share) => (format!("proven >= {:.0} %", 100.0 * share), proven >= share),
        Bar::AtMost(share) => (format!("proven <= {:.1} %", 100.0 * share), proven <= share),
        Bar::Harm => ("harm".to_owned(), true),
    };
    let ok = verdict(holds && is_harmless);
    writeln!(
        out,
        "{kind:<44} {:>5} {:>6.1} % {:>5.1} % {:>6.2} % {:>5.2} % {trying:>5.0} s {harm:>6.0} s  {bar} {ok}",
        reports.len(),
        100.0 * adopted,
        100.0 * proven,
        100.0 * gain,
        100.0 * trial_share,
    )?;
    Ok(())
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "MISSED" }
}
