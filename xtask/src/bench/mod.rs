//! The subcommand `bench`: measures, and prints ratios. Asserts nothing about speed.

mod answer;
mod classify;
mod costs;
mod daemon;
mod detect;
mod foresight;
mod load;
mod overhead;
mod processes;
mod records;
mod replay;
mod report;
mod schedulers;
mod smt;
mod statistics;
mod swap;
mod trials;
mod verdicts;
mod vm;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What `bench` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Only a little of each: shows that the benchmark works, not what it would find
    #[arg(long, global = true)]
    quick: bool,
    /// Put the results into docs/benchmarks.md
    #[arg(long, global = true, conflicts_with = "quick")]
    report: bool,
}

/// What can be measured; everything if none of them is given.
#[derive(Subcommand)]
enum Part {
    /// What profiling costs on this machine: per event, and as a slowdown (needs root)
    Overhead(overhead::Arguments),
    /// How long it takes from a load's start to the decision and to the scheduler, in the test machine
    Detect(detect::Arguments),
    /// Which class many real loads get, in the test machine with few and many CPUs
    Classify(classify::Arguments),
    /// How long the kernel is without a scheduler while schedulers are switched in the test machine,
    /// by auto-ext and by scx_loader
    Swap(swap::Arguments),
    /// How schedulers do jobs, each compared with the kernel's own, in the test machine
    Schedulers(schedulers::Arguments),
    /// How scx_foresight does beside its own baseline, the kernel's own scheduler and others, in the test machine
    Foresight(foresight::Arguments),
    /// How often `auto-ext compare` is right where the truth is known, in the test machine
    Verdicts(verdicts::Arguments),
    /// What the daemon takes from this machine: CPU, memory, wake-ups, disk (needs root)
    Daemon(daemon::Arguments),
    /// What rules about programs cost on this machine beside a flood of short ones, and how soon a listed one has its class
    /// (needs root)
    Processes(processes::Arguments),
    /// How long an hour of trace takes to replay
    Replay(replay::Arguments),
    /// How far trials keep what they promise
    Trials(trials::Arguments),
    /// How who shares a core is decided: plans against optima, times, and machines by chance
    Smt(smt::Arguments),
    /// How virtual machines' vCPUs and memory are decided on: pins against the fewest that do, times, and guests that are lost
    Vm(vm::Arguments),
}

impl Part {
    /// All of them, as they are without arguments.
    fn all() -> Vec<Self> {
        let [simulated, in_machine] = trials::Arguments::all();
        vec![
            Self::Overhead(overhead::Arguments::default()),
            Self::Detect(detect::Arguments::default()),
            Self::Classify(classify::Arguments::default()),
            Self::Swap(swap::Arguments::default()),
            Self::Schedulers(schedulers::Arguments::default()),
            Self::Foresight(foresight::Arguments::default()),
            Self::Verdicts(verdicts::Arguments::default()),
            Self::Daemon(daemon::Arguments::default()),
            Self::Processes(processes::Arguments::default()),
            Self::Replay(replay::Arguments::default()),
            Self::Trials(simulated),
            Self::Trials(in_machine),
            Self::Smt(smt::Arguments::default()),
            Self::Vm(vm::Arguments::default()),
        ]
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Overhead(_) => "overhead",
            Self::Detect(_) => "detect",
            Self::Classify(_) => "classify",
            Self::Swap(_) => "swap",
            Self::Schedulers(_) => "schedulers",
            Self::Foresight(_) => "foresight",
            Self::Verdicts(_) => "verdicts",
            Self::Daemon(_) => "daemon",
            Self::Processes(_) => "processes",
            Self::Replay(_) => "replay",
            Self::Trials(arguments) => arguments.name(),
            Self::Smt(_) => "smt",
            Self::Vm(_) => "vm",
        }
    }

    /// Measures, and writes what came of it, as far as it came.
    fn measure(&self, quick: bool, out: &mut dyn Write) -> Result<()> {
        match self {
            Self::Overhead(arguments) => overhead::overhead(arguments, quick, out),
            Self::Detect(arguments) => detect::detect(arguments, quick, out),
            Self::Classify(arguments) => classify::classify(arguments, quick, out),
            Self::Swap(arguments) => swap::swap(arguments, quick, out),
            Self::Schedulers(arguments) => schedulers::schedulers(arguments, quick, out),
            Self::Foresight(arguments) => foresight::foresight(arguments, quick, out),
            Self::Verdicts(arguments) => verdicts::verdicts(arguments, quick, out),
            Self::Daemon(arguments) => daemon::daemon(arguments, quick, out),
            Self::Processes(arguments) => processes::processes(arguments, quick, out),
            Self::Replay(arguments) => replay::replay(arguments, quick, out),
            Self::Trials(arguments) => trials::trials(arguments, quick, out),
            Self::Smt(arguments) => smt::smt(arguments, quick, out),
            Self::Vm(arguments) => vm::vm(arguments, quick, out),
        }
    }
}

/// Measures.
pub(crate) fn bench(arguments: &Arguments) -> Result<ExitCode> {
    let all = Part::all();
    let parts = match &arguments.part {
        Some(part) => std::slice::from_ref(part),
        None => &all,
    };
    for part in parts {
        let mut text = Vec::new();
        let result = part.measure(arguments.quick, &mut text);
        io::stdout().write_all(&text)?;
        result?;
        if arguments.report {
            report::put(part.name(), &String::from_utf8_lossy(&text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// As a smoke test: everything but what needs the test machine, if that is not to be used, or a kernel that
/// takes BPF programs from us, if this one does not. Returns how many parts were measured.
pub(crate) fn quick(machine: bool, out: &mut dyn Write) -> Result<u64> {
    let mut measured = 0;
    for part in Part::all() {
        let possible = match &part {
            Part::Detect(_) | Part::Classify(_) | Part::Swap(_) | Part::Schedulers(_) => machine,
            // Starts schedulers ten times.
            Part::Foresight(_) => false,
            // Its yardstick takes as long for one comparison as for many; what it compares by is that of `schedulers`.
            Part::Verdicts(_) => false,
            // Minutes for one; the system tests have trials.
            Part::Trials(arguments) if arguments.takes_machine() => false,
            Part::Overhead(_) | Part::Processes(_) => overhead::is_possible()?,
            Part::Daemon(_) | Part::Replay(_) | Part::Trials(_) | Part::Smt(_) | Part::Vm(_) => {
                true
            }
        };
        if possible {
            part.measure(true, out)?;
            measured += 1;
        }
    }
    Ok(measured)
}
