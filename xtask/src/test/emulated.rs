//! Owns the step that has auto-ext-smt count on a processor with counters and hardware threads: an emulated Arm, as the test machine
//! has no counters. What must hold there is said by the program that it runs, `smt/examples/emulated`.

use std::path::PathBuf;

use anyhow::Result;

use super::count::Count;
use crate::command::{cargo, run, say, step};
use crate::machine::arm::{self, Release, TARGET};
use crate::said::{self, To};
use crate::{tools, workspace};

/// The step's name.
pub(super) const EMULATED: &str = "counters on aarch64";

const EXAMPLE: &str = "emulated";
/// The program itself, which that runs too.
const PROGRAM: &str = "auto-ext-smt";

/// Runs it on an old kernel and on a new one.
pub(super) fn emulated() -> Result<Count> {
    let [example, program] = build()?;
    let mut all = Count::default();
    for release in Release::ALL {
        let mut count = Count::default();
        let prefix = format!("[{release:?}] ").to_lowercase();
        let status = arm::run(
            release,
            &example,
            skipped(release),
            &[&program],
            &mut |line| {
                count += Count::parse(line).unwrap_or_default();
                Ok(said::line(To::Output, &prefix, line)?)
            },
        )?;
        if count.is_empty() {
            say("no test ran");
            count = Count::FAILED;
        }
        all += count.ended(status == 0);
    }
    Ok(all)
}

/// What takes longest depends on the program rather than on the kernel: one of them is enough.
fn skipped(release: Release) -> &'static [&'static str] {
    match release {
        Release::Old => &[
            "--skip",
            "what_the_machine_lacks",
            "--skip",
            "a_job_is_profiled",
        ],
        Release::New => &[],
    }
}

fn build() -> Result<[PathBuf; 2]> {
    tools::ensure_target(TARGET)?;
    let mut cargo = cargo();
    // The machine reads it whole into its memory.
    cargo
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        // As there need be no compiler of C for it.
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
    cargo.args(["build", "--locked", "--quiet", "--target", TARGET]);
    // All are named, so that macros have the features with which the unit tests have them, and need not be compiled again.
    cargo.args(["--workspace", "--bin", PROGRAM, "--example", EXAMPLE]);
    step("building auto-ext-smt for aarch64", || run(&mut cargo))?;
    let built = workspace::target().join(TARGET).join("debug");
    Ok([built.join("examples").join(EXAMPLE), built.join(PROGRAM)])
}
