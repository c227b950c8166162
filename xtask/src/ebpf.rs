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

/// Of what packages there is something to be built as a release. All are named whichever of them is wanted: which features
/// dependencies have follows from the packages that are named at once, and with others they would be compiled anew.
const RELEASED: [&str; 8] = [
    "auto-ext-dispatcher",
    "auto-ext-profiler",
    "auto-ext-prototype",
    "auto-ext-scx",
    "auto-ext-simulation",
    "auto-ext-smt",
    "auto-ext-system-tests",
    "auto-ext-vm",
];

/// What is installed, and what makes the documents beside it.
const INSTALLED: [&str; 6] = [
    "--bin=auto-ext",
    "--bin=auto-ext-documents",
    "--bin=auto-ext-smt",
    "--bin=auto-ext-smt-documents",
    "--bin=auto-ext-vm",
    "--bin=auto-ext-vm-documents",
];
const SYSTEM_TESTS: &str = "--bin=system-tests";

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
    // What loads BPF programs takes several times as long in an emulated machine if it is not optimised.
    let mut cargo = for_all(&["test", "--release", "--no-run"])?;
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
    step("building the prototype's way", || {
        build_of_release(&["--bin=auto-ext-prototype"])
    })
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
    let mut cargo = for_all(&["build", "--locked", "--profile", profile])?;
    step("building auto-ext", || run(cargo.args(INSTALLED)))
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
    let features = ["--features=auto-ext-dispatcher/bpf-log"];
    step("building auto-ext with what its BPF programs say", || {
        build_of_release(&[&INSTALLED[..], &[SYSTEM_TESTS], &features].concat())
    })
}

/// Builds what the test machine runs: auto-ext and the system tests.
pub(crate) fn build_release() -> Result<()> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    once(&BUILT, || {
        tools::ensure_components()?;
        step("building auto-ext and its system tests", || {
            build_of_release(&[&INSTALLED[..], &[SYSTEM_TESTS]].concat())
        })?;
        documents(workspace::release)
    })
}

/// Of what the test machine runs, builds auto-ext and the system tests.
pub(crate) fn build_auto_ext_alone() -> Result<()> {
    tools::ensure_components()?;
    let [program, documents, ..] = INSTALLED;
    step("building auto-ext and its system tests", || {
        build_of_release(&[program, documents, SYSTEM_TESTS])
    })?;
    run(command(workspace::release("auto-ext-documents")).arg(workspace::release("documents")))
}

/// Builds the example of `scx`, and returns the program.
pub(crate) fn build_example() -> Result<PathBuf> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    once(&BUILT, || {
        step("building the example of scx", || {
            build_of_release(&["--quiet", "--example=swap"])
        })
    })?;
    Ok(workspace::release("examples/swap"))
}

/// Builds these targets of the release, each named by an option of cargo.
pub(crate) fn build_of_release(targets: &[&str]) -> Result<()> {
    run(for_all(&["build", "--release"])?.args(targets))
}

/// cargo, told to do this for all packages of a release.
fn for_all(task: &[&str]) -> Result<Command> {
    let mut cargo = cargo_with_linker()?;
    cargo.args(task);
    cargo.args(RELEASED.map(|package| format!("--package={package}")));
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
