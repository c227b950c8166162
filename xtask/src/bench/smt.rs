//! How the pure half of auto-ext-smt stands to its bars: goldens and topologies, which are its tests, plans against optima,
//! times of planning, decisions on machines by chance, and what observing takes.

use std::io::Write;

use anyhow::Result;

use crate::command::{command, output, run_quietly};
use crate::{ebpf, workspace};

const PACKAGE: &str = "auto-ext-smt";
/// How many machines of each kind are made where it is not said, and in the short run.
const SEEDS: u64 = 200;
const FEW: u64 = 2;
/// For how long it is observed, in seconds: twice or once with the counters.
const LONG: u64 = 120;
const SHORT: u64 = 15;

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// How many machines of each kind are made up; 200 if it is not given
    #[arg(long)]
    seeds: Option<u64>,
}

/// Measures.
pub(super) fn smt(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    if !quick {
        run_quietly(command("cargo").args(["test", "--release", "--package", PACKAGE, "--lib"]))?;
        writeln!(out, "goldens and topologies: all tests hold")?;
    }
    let seeds = arguments.seeds.unwrap_or(if quick { FEW } else { SEEDS });
    let seconds = if quick { SHORT } else { LONG };
    ebpf::build_of_release(&[
        "--quiet",
        "--features=auto-ext-smt/simulation",
        "--example=smt_bars",
        "--example=smt_cost",
    ])?;
    for (example, argument) in [("smt_bars", seeds), ("smt_cost", seconds)] {
        let program = workspace::release(&format!("examples/{example}"));
        let said = output(command(program).arg(argument.to_string()))?;
        out.write_all(said.as_bytes())?;
    }
    Ok(())
}
