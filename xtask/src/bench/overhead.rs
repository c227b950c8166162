//! What the profilers cost on this machine: the slowdown of loads that feel them, and nanoseconds per event
//! as the kernel counts them. Beside them, in the same run, what measuring outcomes adds (`auto-ext levels --waits`), and counters
//! on the hot paths (`prototype/`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::load::{self, Load};
use super::statistics::spread;
use crate::command::{Running, command, output, say, step};
use crate::{debian, ebpf, workspace};

/// The profilers.
const AUTO_EXT: &str = "auto-ext";
/// They, and the programs that measure outcomes.
const OUTCOMES: &str = "with --waits";
/// What is measured beside auto-ext.
const COUNTERS: &str = "hot-path counters";

/// Whether the kernel times every run of a BPF program.
const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// How many rounds of each load: one with the profilers, one with what measures outcomes too, one with the
    /// counters on hot paths, one with none;
    /// 12 if it is not given
    #[arg(long)]
    rounds: Option<usize>,
}

/// What is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Nothing,
    AutoExt,
    Outcomes,
    Prototype,
}

const WAYS: [Way; 4] = [Way::Nothing, Way::AutoExt, Way::Outcomes, Way::Prototype];

/// Measures.
pub(super) fn overhead(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let rounds = arguments.rounds.unwrap_or(if quick { 1 } else { 12 });
    ensure!(rounds > 0, "--rounds must be at least 1");
    debian::ensure_packages()?;
    ebpf::build_release()?;
    ebpf::build_prototype()?;

    writeln!(
        out,
        "times as long as with nothing attached: median (lowest to highest) of {rounds} rounds"
    )?;
    writeln!(
        out,
        "{:<32} {:>13} {:>24} {:>24} {:>24}",
        "load", "nothing", AUTO_EXT, OUTCOMES, COUNTERS
    )?;
    for load in &load::ALL {
        let times = step(&format!("timing {}", load.name), || {
            rounds_of(load, rounds, quick)
        })?;
        let (_, nothing, _) = spread(&times[0]);
        write!(out, "{:<32} {:>8.1} {:<4}", load.name, nothing, load.unit)?;
        for way in &times[1..] {
            let ratios: Vec<f64> = way
                .iter()
                .zip(&times[0])
                .map(|(with, without)| with / without)
                .collect();
            let (low, median, high) = spread(&ratios);
            write!(
                out,
                " {:>24}",
                format!("{median:.3} ({low:.3} to {high:.3})")
            )?;
        }
        writeln!(out)?;
    }

    let costs = step("timing every event", || {
        Ok([
            events(Way::AutoExt, quick)?,
            events(Way::Outcomes, quick)?,
            events(Way::Prototype, quick)?,
        ])
    })?;
    writeln!(
        out,
        "\nBPF programs while each load runs once, by bpf_stats, which adds about 20 ns to each event"
    )?;
    let mut all = Vec::new();
    for (way, costs) in [AUTO_EXT, OUTCOMES, COUNTERS].iter().zip(&costs) {
        let mut total = 0.0;
        for (program, (ns, runs)) in costs {
            writeln!(
                out,
                "  {way:<20} {program:<16} {ns:>7.1} ns, {runs:>8} events"
            )?;
            total += ns * *runs as f64 / 1e6;
        }
        writeln!(out, "  {way:<20} {:<16} {total:>7.1} ms", "in all")?;
        all.push(total);
    }
    writeln!(
        out,
        "  auto-ext takes {:.3} of the time that the {COUNTERS} take",
        all[0] / all[2]
    )?;
    Ok(())
}

/// Whether BPF programs can be attached here, which takes root and a kernel that lets it.
pub(super) fn is_possible() -> Result<bool> {
    ebpf::build_prototype()?;
    let attached = Attached::of(Way::Prototype);
    if let Err(error) = &attached {
        say(format!("no BPF program can be attached here: {error:#}"));
    }
    Ok(attached.is_ok())
}

/// What the load took in each round, in the order of the ways. The order changes from
/// round to round, so that none profits from a machine that gets slower or faster.
fn rounds_of(load: &Load, rounds: usize, quick: bool) -> Result<[Vec<f64>; 4]> {
    let mut times = [const { Vec::new() }; 4];
    // The first run of anything is not like the others.
    (load.run)(quick)?;
    for round in 0..rounds {
        let mut order = [0, 1, 2, 3];
        order.rotate_left(round % 4);
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let attached = Attached::of(WAYS[index])?;
            times[index].push((load.run)(quick)?);
            drop(attached);
        }
        say(format!(
            "round {}: {:.3} {unit} with nothing, {:.3} with {AUTO_EXT}, {:.3} {OUTCOMES}, {:.3} {COUNTERS}",
            round + 1,
            times[0][round],
            times[1][round],
            times[2][round],
            times[3][round],
            unit = load.unit
        ));
    }
    Ok(times)
}

/// For each program, nanoseconds per run and the number of runs, while every load runs once.
fn events(way: Way, quick: bool) -> Result<BTreeMap<String, (f64, u64)>> {
    let before =
        fs::read_to_string(BPF_STATS).with_context(|| format!("failed to read {BPF_STATS}"))?;
    fs::write(BPF_STATS, "1")
        .with_context(|| format!("failed to write {BPF_STATS}: run as root"))?;
    let measured = (|| {
        let attached = Attached::of(way)?;
        for load in &load::ALL {
            (load.run)(quick)?;
        }
        load::write_to_disk()?;
        attached.context("nothing is attached")?.costs()
    })();
    fs::write(BPF_STATS, before.trim())
        .with_context(|| format!("failed to restore {BPF_STATS}"))?;
    measured
}

/// Programs that stay attached until this is dropped.
struct Attached {
    _running: Running,
    /// The programs that others had loaded before.
    others: BTreeSet<u32>,
}

/// A program as `bpftool` shows it.
#[derive(Deserialize)]
struct Program {
    id: u32,
    name: Option<String>,
    #[serde(default)]
    run_time_ns: u64,
    #[serde(default)]
    run_cnt: u64,
}

fn programs() -> Result<Vec<Program>> {
    let text = output(command("bpftool").args(["--json", "prog", "list"]))?;
    serde_json::from_str(&text).context("`bpftool` printed no list of programs")
}

impl Attached {
    fn of(way: Way) -> Result<Option<Self>> {
        let mut command = match way {
            Way::Nothing => return Ok(None),
            Way::AutoExt | Way::Outcomes => {
                let mut levels = Command::new(workspace::release("auto-ext"));
                levels.arg("levels");
                if way == Way::Outcomes {
                    levels.arg("--waits");
                }
                levels
            }
            Way::Prototype => Command::new(workspace::release("auto-ext-prototype")),
        };
        let others = programs()?.into_iter().map(|program| program.id).collect();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut command)?;
        let stdout = running.0.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        // It is attached when it says its first line.
        if lines.next().is_none() {
            bail!("{way:?} attached nothing: {}", running.0.wait()?);
        }
        // Read on, so that it does not stop at a full pipe; ends with the process.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Some(Self {
            _running: running,
            others,
        }))
    }

    fn costs(&self) -> Result<BTreeMap<String, (f64, u64)>> {
        let ours = programs()?
            .into_iter()
            .filter(|program| !self.others.contains(&program.id));
        let costs: BTreeMap<_, _> = ours
            .filter(|program| program.run_cnt > 0)
            .filter_map(|program| {
                let ns = program.run_time_ns as f64 / program.run_cnt as f64;
                Some((program.name?, (ns, program.run_cnt)))
            })
            .collect();
        ensure!(
            !costs.is_empty(),
            "the kernel counted no run of a BPF program of ours"
        );
        Ok(costs)
    }
}
