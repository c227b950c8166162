//! The subcommand `bench`: measures, and prints ratios. Asserts nothing about speed.

mod load;
mod overhead;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// What profiling costs on this machine: per event, and as a slowdown (needs root)
    Overhead(overhead::Arguments),
}

/// Measures.
pub(crate) fn bench(bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::Overhead(arguments) => overhead::overhead(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
