//! What the profilers cost: nanoseconds per event as the kernel counts them, and the slowdown of
//! the load that feels the hottest tracepoint most.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::load;
use super::statistics::spread;
use crate::command::{command, not_run, output, say, step};
use crate::{debian, ebpf, workspace};

/// Whether the kernel times every run of a BPF program.
const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// The CPU to which the pipe benchmark is pinned.
const CPU: &str = "0";

/// How much is measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many pairs of runs, one with the profilers and one without
    #[arg(long, default_value_t = 12)]
    pairs: usize,
    /// How often the pipe benchmark goes to and fro in each run
    #[arg(long, default_value_t = 200_000)]
    loops: u32,
}

/// Measures and prints.
pub(crate) fn overhead(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.pairs > 0, "--pairs must be at least 1");
    debian::ensure_packages()?;
    ebpf::build_release()?;
    let out = &mut std::io::stdout();

    let (with, without) = step("timing pipes with and without the profilers", || {
        pipe_pairs(arguments)
    })?;
    writeln!(
        out,
        "taskset -c {CPU} perf bench sched pipe, {} pairs of runs",
        arguments.pairs
    )?;
    let ratios: Vec<f64> = with
        .iter()
        .zip(&without)
        .map(|(with, without)| with / without)
        .collect();
    let line = |name: &str, values: &[f64], unit: &str| {
        let (low, median, high) = spread(values);
        format!("  {name:<18} {median:>7.3} {unit} median, {low:.3} to {high:.3}")
    };
    writeln!(out, "{}", line("without profilers", &without, "us/op"))?;
    writeln!(out, "{}", line("with profilers", &with, "us/op"))?;
    writeln!(out, "{}", line("ratio", &ratios, "     "))?;

    let costs = step("timing every event", || events(arguments.loops))?;
    writeln!(
        out,
        "nanoseconds per event by bpf_stats, which adds about 20 of its own"
    )?;
    for (program, (ns, runs)) in costs {
        writeln!(out, "  {program:<18} {ns:>7.1} ns, {runs} events")?;
    }
    Ok(())
}

/// The times per operation with and without the profilers, alternating, the order changing from pair
/// to pair so that neither profits from a machine that gets slower or faster.
fn pipe_pairs(arguments: &Arguments) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    pipe(arguments.loops)?;
    for pair in 0..arguments.pairs {
        for profiled in [pair % 2 == 0, pair % 2 != 0] {
            let profilers = if profiled {
                Some(Profilers::attach()?)
            } else {
                None
            };
            let time = pipe(arguments.loops)?;
            if profilers.is_some() {
                with.push(time);
            } else {
                without.push(time);
            }
        }
        say(format!(
            "pair {}: {:.3} us/op with, {:.3} without",
            pair + 1,
            with[pair],
            without[pair]
        ));
    }
    Ok((with, without))
}

/// Microseconds per operation of the pinned pipe benchmark.
fn pipe(loops: u32) -> Result<f64> {
    let mut bench = command("taskset");
    bench.args([
        "--cpu-list",
        CPU,
        "perf",
        "bench",
        "--format",
        "default",
        "sched",
        "pipe",
        "--loop",
    ]);
    bench.arg(loops.to_string());
    let text = output(&mut bench)?;
    text.lines()
        .find_map(|line| line.trim().strip_suffix("usecs/op")?.trim().parse().ok())
        .with_context(|| format!("`perf bench sched pipe` printed no usecs/op:\n{text}"))
}

/// For each of our programs, nanoseconds per run and the number of runs, under loads that make all
/// of them run.
fn events(loops: u32) -> Result<BTreeMap<String, (f64, u64)>> {
    let before =
        fs::read_to_string(BPF_STATS).with_context(|| format!("failed to read {BPF_STATS}"))?;
    fs::write(BPF_STATS, "1")
        .with_context(|| format!("failed to write {BPF_STATS}: run as root"))?;
    let measured = (|| {
        let profilers = Profilers::attach()?;
        pipe(loops)?;
        load::every_resource()?;
        profilers.costs()
    })();
    fs::write(BPF_STATS, before.trim())
        .with_context(|| format!("failed to restore {BPF_STATS}"))?;
    measured
}

/// `auto-ext levels`, attached until this is dropped.
struct Profilers {
    child: Child,
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

impl Profilers {
    fn attach() -> Result<Self> {
        let others = programs()?.into_iter().map(|program| program.id).collect();
        let mut levels = Command::new(workspace::release("auto-ext"));
        levels
            .arg("levels")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = levels.spawn().with_context(|| not_run(&levels))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        if lines.next().is_none() {
            bail!("`auto-ext levels` printed nothing: {}", child.wait()?);
        }
        // Read on, so that it does not stop at a full pipe; ends with the process.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, others })
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
            "the kernel counted no run of a BPF program of auto-ext"
        );
        Ok(costs)
    }
}

impl Drop for Profilers {
    fn drop(&mut self) {
        // It only reads; nothing is lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
