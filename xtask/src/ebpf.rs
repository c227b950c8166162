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

/// What is installed. Beside each program is one that makes its documents.
const INSTALLED: [&str; 3] = ["auto-ext", "auto-ext-smt", "auto-ext-vm"];

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
    documents(&INSTALLED, workspace::release)
}

/// Builds the same for packages, see the profile in Cargo.toml.
pub(crate) fn build_distribution() -> Result<()> {
    build_program("distribution")?;
    documents(&INSTALLED, workspace::distribution)
}

fn build_program(profile: &str) -> Result<()> {
    tools::ensure_components()?;
    let mut cargo = for_all(&["build", "--locked", "--profile", profile])?;
    step("building auto-ext", || run(cargo.args(targets(&INSTALLED))))
}

/// Makes the manual pages and completions of these programs, where install.sh looks for them: beside the program.
fn documents(programs: &[&str], built: fn(&str) -> PathBuf) -> Result<()> {
    for program in programs {
        run(command(built(&maker(program))).arg(built("documents")))?;
    }
    Ok(())
}

/// The program that makes the documents of `program`.
fn maker(program: &str) -> String {
    format!("{program}-documents")
}

/// The options by which cargo builds these programs and what makes their documents.
fn targets(programs: &[&str]) -> Vec<String> {
    let each = |program: &&str| {
        [
            format!("--bin={program}"),
            format!("--bin={}", maker(program)),
        ]
    };
    programs.iter().flat_map(each).collect()
}

/// Builds auto-ext once more, with BPF programs that say what they see. It is in the place of the release's until that is
/// built again.
pub(crate) fn build_with_bpf_log() -> Result<()> {
    let mut cargo = for_all(&["build", "--release"])?;
    cargo.args(targets(&INSTALLED));
    cargo.args(["--features", "auto-ext-dispatcher/bpf-log"]);
    step("building auto-ext with what its BPF programs say", || {
        run(&mut cargo)
    })
}

/// Builds what the test machine runs: auto-ext, the services beside it, and the system tests.
pub(crate) fn build_release() -> Result<()> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    once(&BUILT, || build_for_machine(&INSTALLED))
}

/// The same without the services beside it.
pub(crate) fn build_auto_ext_alone() -> Result<()> {
    build_for_machine(&INSTALLED[..1])
}

fn build_for_machine(programs: &[&str]) -> Result<()> {
    tools::ensure_components()?;
    let mut cargo = for_all(&["build", "--release", "--bin=system-tests"])?;
    cargo.args(targets(programs));
    step("building auto-ext and its system tests", || run(&mut cargo))?;
    documents(programs, workspace::release)
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
