//! How the pure half of auto-ext-vm stands to its bars: pins against the fewest that do, times of planning, and guests that are
//! lost for want of memory.

use std::io::Write;

use anyhow::Result;

use crate::command::{command, output, run_quietly};

const PACKAGE: &str = "auto-ext-vm";
/// How many small cases there are and how many seeds of each case of memory, where it is not said and in the short run.
const CASES: u64 = 500;
const SEEDS: u64 = 50;
const FEW: u64 = 3;

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// How many small cases are made up; 500 if it is not given
    #[arg(long)]
    cases: Option<u64>,
    /// With how many seeds each case of memory is tried; 50 if it is not given
    #[arg(long)]
    seeds: Option<u64>,
}

/// Measures.
pub(super) fn vm(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    if !quick {
        run_quietly(command("cargo").args(["test", "--release", "--package", PACKAGE, "--lib"]))?;
        writeln!(
            out,
            "C1 to C24, M1 to M15 and what always holds: all tests hold"
        )?;
    }
    let (cases, seeds) = if quick { (FEW, FEW) } else { (CASES, SEEDS) };
    let mut bars = command("cargo");
    bars.args(["run", "--quiet", "--release", "--package", PACKAGE]);
    bars.args(["--example", "bars", "--"]);
    bars.arg(arguments.cases.unwrap_or(cases).to_string());
    bars.arg(arguments.seeds.unwrap_or(seeds).to_string());
    out.write_all(output(&mut bars)?.as_bytes())?;
    Ok(())
}
