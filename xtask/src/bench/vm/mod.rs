//! How auto-ext-vm stands to its bars: pins against the fewest that do, times of planning and guests that are lost for want of
//! memory, on hosts that are made up; what the service takes (`cost`); and real guests, placed again and again.

mod cost;

use std::io::Write;

use anyhow::Result;

use cost::Size;

use crate::command::{command, output, run_quietly, step};
use crate::test::placed_again_and_again;
use crate::{ebpf, workspace};

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
    /// For how many seconds the service is watched beside 500 guests; 60 if it is not given (needs root)
    #[arg(long)]
    seconds: Option<u64>,
    /// So often in a row four real guests, emulated, are placed in place of all this (needs root)
    #[arg(long, value_name = "N")]
    real: Option<u32>,
}

/// Measures.
pub(super) fn vm(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    if let Some(times) = arguments.real {
        return placed_again_and_again(times, out);
    }
    if !quick {
        run_quietly(command("cargo").args(["test", "--release", "--package", PACKAGE, "--lib"]))?;
        writeln!(
            out,
            "C1 to C24, M1 to M15 and what always holds: all tests hold"
        )?;
    }
    let (cases, seeds) = if quick { (FEW, FEW) } else { (CASES, SEEDS) };
    ebpf::build_of_release(&["--quiet", "--example=vm_bars"])?;
    let mut bars = command(workspace::release("examples/vm_bars"));
    bars.arg(arguments.cases.unwrap_or(cases).to_string());
    bars.arg(arguments.seeds.unwrap_or(seeds).to_string());
    out.write_all(output(&mut bars)?.as_bytes())?;
    let size = match arguments.seconds {
        None if quick => Size::QUICK,
        seconds => Size::whole(seconds.unwrap_or(60)),
    };
    let cost = step("watching the service beside guests", || {
        cost::of_service(&size)
    })?;
    out.write_all(cost.as_bytes())?;
    Ok(())
}
