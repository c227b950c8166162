//! Owns how this project's own programs are built for use, and the manual pages and completions
//! beside them. How the BPF object is made is the business of the profiler crate's build script,
//! which gets its linker from here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use cargo_metadata::Message;

use crate::command::{cargo, command, output, run, step};
use crate::{needed, tools, workspace};

/// Whose programs the test machine runs. Whatever else of a release is built is built together with them: which features
/// dependencies have follows from what is built at once, and with others they would be compiled anew.
const IN_MACHINE: [&str; 8] = [
    "--package",
    "auto-ext-dispatcher",
    "--package",
    "auto-ext-smt",
    "--package",
    "auto-ext-vm",
    "--package",
    "auto-ext-system-tests",
];

/// cargo, able to build the BPF programs: the profiler's with a linker, the scheduler's with clang.
pub(crate) fn cargo_with_linker() -> Result<Command> {
    let mut cargo = cargo();
    cargo.env("AUTO_EXT_BPF_LINKER", tools::bpf_linker()?);
    cargo.env("BPF_CLANG", needed::bpf_clang());
    Ok(cargo)
}

/// Builds the profiler with its BPF programs.
pub(crate) fn build_ebpf() -> Result<()> {
    tools::ensure_components()?;
    let mut cargo = cargo_with_linker()?;
    cargo.args(["build", "--release", "--package", "auto-ext-profiler"]);
    step("building the profiler", || run(&mut cargo))
}

/// Builds that one of the profiler's tests that attach BPF programs, and returns the program. Once: what runs beside this
/// would have to wait until nobody else builds.
pub(crate) fn build_profiler_tests(test: &'static str) -> Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut all = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = all.get(test) {
        return Ok(program.clone());
    }
    let mut cargo = cargo_with_linker()?;
    // What loads BPF programs takes several times as long in an emulated machine if it is not optimised.
    cargo.args(["test", "--release", "--no-run"]);
    cargo.args(["--package", "auto-ext-profiler"]);
    cargo.args(["--test", test, "--message-format", "json"]);
    let messages = step("building the profiler's tests", || output(&mut cargo))?;
    let built = Message::parse_stream(messages.as_bytes()).filter_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) => artifact.executable,
        _ => None,
    });
    let program: PathBuf = built
        .last()
        .context("cargo names no program for the profiler's tests")?
        .into();
    all.insert(test, program.clone());
    Ok(program)
}

/// Builds what attaches BPF programs the way of the prototype, for the benchmarks.
pub(crate) fn build_prototype() -> Result<()> {
    let mut cargo = for_machine()?;
    cargo.args(["--package", "auto-ext-prototype", "--bins"]);
    step("building the prototype's way", || run(&mut cargo))
}

/// Builds what install.sh installs: the programs, the manual pages and the completions.
pub(crate) fn build() -> Result<()> {
    build_program("release")?;
    documents(workspace::release)
}

/// Builds the same for packages, see the profile in Cargo.toml.
pub(crate) fn build_distribution() -> Result<()> {
    build_program("distribution")?;
    documents(workspace::distribution)
}

fn build_program(profile: &str) -> Result<()> {
    tools::ensure_components()?;
    let mut cargo = cargo_with_linker()?;
    cargo.args(["build", "--locked", "--profile", profile]);
    for package in ["auto-ext-dispatcher", "auto-ext-smt", "auto-ext-vm"] {
        cargo.args(["--package", package]);
    }
    step("building auto-ext", || run(&mut cargo))
}

/// Makes the manual pages and completions, where install.sh looks for them: beside the program.
fn documents(built: fn(&str) -> PathBuf) -> Result<()> {
    for program in [
        "auto-ext-documents",
        "auto-ext-smt-documents",
        "auto-ext-vm-documents",
    ] {
        run(command(built(program)).arg(built("documents")))?;
    }
    Ok(())
}

/// Builds auto-ext once more, with BPF programs that say what they see. It is in the place of the release's until that is
/// built again.
pub(crate) fn build_with_bpf_log() -> Result<()> {
    let mut cargo = for_machine()?;
    cargo.args(["--bins", "--features", "auto-ext-dispatcher/bpf-log"]);
    step("building auto-ext with what its BPF programs say", || {
        run(&mut cargo)
    })
}

/// Builds what the test machine runs: auto-ext and the system tests.
pub(crate) fn build_release() -> Result<()> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    once(&BUILT, || {
        tools::ensure_components()?;
        step("building auto-ext and its system tests", || {
            run(for_machine()?.arg("--bins"))
        })?;
        documents(workspace::release)
    })
}

/// Builds the example of `scx`, and returns the program. By itself: with an example, dependencies have the features that
/// tests want of them, and auto-ext would not be what is installed.
pub(crate) fn build_example() -> Result<PathBuf> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    once(&BUILT, || {
        let mut cargo = for_machine()?;
        cargo.args(["--quiet", "--package", "auto-ext-scx", "--example", "swap"]);
        step("building the example of scx", || run(&mut cargo))
    })?;
    Ok(workspace::release("examples/swap"))
}

fn for_machine() -> Result<Command> {
    let mut cargo = cargo_with_linker()?;
    cargo.args(["build", "--release"]).args(IN_MACHINE);
    Ok(cargo)
}

/// Builds once, however many machines run at once: what one of them is made of is not written again meanwhile.
fn once(built: &Mutex<bool>, build: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
    if !*built {
        build()?;
        *built = true;
    }
    Ok(())
}
