//! The subcommand `bench`: measures, and prints ratios. Asserts nothing about speed.

mod load;
mod overhead;
mod replay;
mod statistics;
mod swap;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// What profiling costs on this machine: per event, and as a slowdown (needs root)
    Overhead(overhead::Arguments),
    /// How long an hour of trace takes to replay
    Replay,
    /// How long the kernel is without a scheduler while schedulers are switched in the test machine,
    /// by auto-ext and by scx_loader
    Swap(swap::Arguments),
}

/// Measures.
pub(crate) fn bench(bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::Overhead(arguments) => overhead::overhead(arguments)?,
        Bench::Replay => replay::replay()?,
        Bench::Swap(arguments) => swap::swap(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
