//! The subcommand `fuzz`, and the short run of the same that is part of the tests. Owns how the fuzz
//! targets are built and run by libFuzzer, and where their corpora are; what must hold of an input
//! is said in the crate that it is of.
//!
//! The kept corpora are in `fuzz/corpus`, and a run only reads them. What a run finds to lead
//! somewhere new is collected beside the build; `--keep` takes over the least of it that leads
//! everywhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::command::{command, complain, run, run_quietly, step};
use crate::{ebpf, tools, workspace};

const PACKAGE: &str = "auto-ext-fuzz";
const PROFILE: &str = "fuzz";

/// How the compiler is told to tell libFuzzer where the program has been and what it compared.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// How many inputs of each target the tests try: some seconds' worth.
const SHORT_RUNS: u32 = 20_000;

/// How large an input may grow, in bytes.
const MAX_LEN: u32 = 1 << 16;

/// What one input may take when something is to be found: seconds, MiB.
const SLOW: u32 = 10;
const MEMORY: u32 = 1024;

/// What is fuzzed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Target {
    /// Texts of policies
    Policy,
    /// Traces
    Trace,
    /// Arguments of the methods on the bus
    Requests,
    /// What /sys says of CPUs, and /proc of threads
    Sys,
    /// What auto-ext-smt says that it has placed
    Ledger,
    /// What libvirt and QEMU answer
    Guests,
    /// Model files and samples of scx_foresight
    Foresight,
}

/// What `fuzz` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to fuzz; all, one after the other, if it is not said
    target: Option<Target>,
    /// For how long, each
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Afterwards, take over into the kept corpus what leads where it does not
    #[arg(long)]
    keep: bool,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Trace => "trace",
            Self::Requests => "requests",
            Self::Sys => "sys",
            Self::Ledger => "ledger",
            Self::Guests => "guests",
            Self::Foresight => "foresight",
        }
    }

    /// libFuzzer with this target.
    fn command(self) -> Command {
        let program = directory().join(format!("fuzz-{}", self.name()));
        let mut fuzz = command(program);
        fuzz.current_dir(workspace::root());
        fuzz.arg(format!("-max_len={MAX_LEN}"));
        fuzz
    }

    /// The corpus in the repository.
    fn kept(self) -> PathBuf {
        workspace::root().join("fuzz/corpus").join(self.name())
    }

    /// What runs on this machine have found beside it.
    fn collected(self) -> PathBuf {
        directory().join("corpus").join(self.name())
    }
}

/// Fuzzes; a finding is an error, and libFuzzer says where the input is that led to it.
pub(crate) fn fuzz(arguments: &Arguments) -> Result<()> {
    tools::ensure_components()?;
    build()?;
    let all = Target::value_variants();
    for target in arguments.target.as_ref().map_or(all, std::slice::from_ref) {
        let (kept, collected) = (target.kept(), target.collected());
        make(&collected)?;
        let findings = directory().join(format!("finding-{}-", target.name()));
        let mut fuzz = target.command();
        fuzz.arg(format!("-max_total_time={}", arguments.seconds))
            .arg(format!("-timeout={SLOW}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-artifact_prefix={}", findings.display()))
            .arg("-print_final_stats=1")
            .args([&collected, &kept]);
        step(&format!("fuzzing {}", target.name()), || run(&mut fuzz))?;
        if arguments.keep {
            run(target.command().arg("-merge=1").args([&kept, &collected]))?;
        }
    }
    Ok(())
}

/// Tries every input of the kept corpora and [`SHORT_RUNS`] made from them, and says of each target
/// whether nothing was found.
pub(crate) fn short() -> Result<Vec<bool>> {
    build()?;
    let mut found_nothing = Vec::new();
    for target in Target::value_variants() {
        let findings = directory().join(format!("finding-{}-", target.name()));
        let scratch = tempfile::tempdir().context("no place for what fuzzing finds")?;
        let mut fuzz = target.command();
        // Without a limit of time: a machine may be as slow as it is.
        fuzz.arg(format!("-runs={SHORT_RUNS}"))
            .arg(format!("-artifact_prefix={}", findings.display()))
            .arg(scratch.path())
            .arg(target.kept());
        let result = run_quietly(&mut fuzz);
        if let Err(error) = &result {
            complain(format!("{error:#}"));
        }
        found_nothing.push(result.is_ok());
    }
    Ok(found_nothing)
}

fn build() -> Result<()> {
    let mut cargo = ebpf::cargo_with_linker()?;
    // With a target named, build scripts and macros are compiled as ever.
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"))
        .args(["build", "--package", PACKAGE, "--profile", PROFILE])
        .args(["--target", &triple()]);
    step("building the fuzz targets", || run(&mut cargo))
}

/// The machine that this is compiled for, which is the one that it runs on.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Where cargo puts the targets.
fn directory() -> PathBuf {
    workspace::target().join(triple()).join(PROFILE)
}

fn make(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
}
