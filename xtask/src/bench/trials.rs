//! How far trials keep what they promise, on machines that are made up: `simulation/` does it, in time of its own.

use std::io::Write;

use anyhow::{Result, ensure};

use crate::command::{cargo, command, output, run, step};
use crate::workspace;

const PACKAGE: &str = "auto-ext-simulation";

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// On machines that are made up, which needs no other
    #[arg(long, required = true)]
    simulate: bool,
    /// How many of them for each question about one challenger; 1000 if it is not given
    #[arg(long)]
    comparisons: Option<u64>,
    /// How many are lived with for a week; 100 if it is not given
    #[arg(long)]
    lives: Option<u64>,
}

impl Arguments {
    /// As they are when everything is measured.
    pub(super) fn all() -> Self {
        Self {
            simulate: true,
            ..Self::default()
        }
    }
}

/// Measures.
pub(super) fn trials(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let Arguments {
        simulate,
        comparisons,
        lives,
    } = arguments;
    ensure!(simulate, "trials are measured with --simulate alone");
    let mut build = cargo();
    build.args(["build", "--release", "--package", PACKAGE]);
    step("building the simulation", || run(&mut build))?;
    let (few_comparisons, few_lives) = if quick { (2, 1) } else { (1000, 100) };
    let mut simulation = command(workspace::release(PACKAGE));
    let comparisons = comparisons.unwrap_or(few_comparisons);
    let lives = lives.unwrap_or(few_lives);
    simulation.args(["--comparisons", &comparisons.to_string()]);
    simulation.args(["--lives", &lives.to_string()]);
    let said = step("simulating", || output(&mut simulation))?;
    writeln!(
        out,
        "{comparisons} machines for each of the first, {lives} for what comes of a week"
    )?;
    out.write_all(said.as_bytes())?;
    Ok(())
}
