//! Owns the checks on this machine: which there are, in which order, and by which command each is
//! done. How they are counted is in the parent.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{cargo, command};
use crate::{ebpf, tools, workspace};

/// The crates that compile only for the BPF target.
const EBPF: [&str; 2] = ["auto-ext-profiler-ebpf", "auto-ext-prototype-ebpf"];

/// A check, which holds if its command succeeds.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) command: fn() -> Result<Command>,
}

/// All checks that come before the tests.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "formatting",
        command: formatting,
    },
    Check {
        name: "lints",
        command: lints,
    },
    Check {
        name: "lints of the BPF programs",
        command: bpf_lints,
    },
    Check {
        name: "dependencies",
        command: dependencies,
    },
    Check {
        name: "shell scripts",
        command: shell_scripts,
    },
    Check {
        name: "documentation",
        command: documentation,
    },
];

/// The release build, which the machine runs.
pub(super) const RELEASE: &str = "release build";

/// The tests that need no machine.
pub(super) const UNIT_TESTS: &str = "unit tests";

/// A short run of the fuzz targets.
pub(super) const FUZZING: &str = "fuzzing";

fn formatting() -> Result<Command> {
    let mut cargo = cargo();
    cargo.args(["fmt", "--all", "--check"]);
    Ok(cargo)
}

fn lints() -> Result<Command> {
    let mut cargo = ebpf::cargo_with_linker()?;
    cargo.args(["clippy", "--workspace", "--all-targets", "--quiet"]);
    cargo.args(EBPF.map(|package| format!("--exclude={package}")));
    cargo.args(["--", "-D", "warnings"]);
    Ok(cargo)
}

fn bpf_lints() -> Result<Command> {
    let mut cargo = cargo();
    // The stable toolchain has what a nightly one has, behind this variable. Its own directory:
    // the variable changes how everything is built.
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", workspace::target().join("bpf-lints"));
    cargo.args(["clippy", "-Z", "build-std=core", "--quiet"]);
    cargo.args(EBPF.map(|package| format!("--package={package}")));
    cargo.args(["--target", "bpfel-unknown-none", "--", "-D", "warnings"]);
    Ok(cargo)
}

fn dependencies() -> Result<Command> {
    deny(&["bans", "licenses", "sources"])
}

/// cargo-deny with these of its checks.
pub(super) fn deny(checks: &[&str]) -> Result<Command> {
    let mut deny = command(tools::cargo_deny()?);
    deny.args(["--workspace", "check", "--hide-inclusion-graph"])
        .args(checks);
    deny.current_dir(workspace::root());
    Ok(deny)
}

fn shell_scripts() -> Result<Command> {
    let mut shellcheck = command("shellcheck");
    shellcheck
        .args(["install.sh", ".ci/run", "packaging/debian/postrm"])
        .args(scripts("packaging/rpm")?)
        .args(scripts("xtask/src/guest")?);
    shellcheck.current_dir(workspace::root());
    Ok(shellcheck)
}

fn scripts(directory: &str) -> Result<Vec<OsString>> {
    let directory = workspace::root().join(directory);
    let entries = std::fs::read_dir(&directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path().into_os_string()));
    let paths = paths.collect::<Result<Vec<_>>>()?;
    Ok(paths
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".sh"))
        .collect())
}

fn documentation() -> Result<Command> {
    let mut cargo = ebpf::cargo_with_linker()?;
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    cargo.args(["doc", "--workspace", "--no-deps", "--quiet"]);
    cargo.args(EBPF.map(|package| format!("--exclude={package}")));
    Ok(cargo)
}

/// The unit tests whose names contain `filter`.
pub(super) fn unit_tests(filter: Option<&str>) -> Result<Command> {
    let mut cargo = ebpf::cargo_with_linker()?;
    cargo.args(["test", "--workspace", "--no-fail-fast", "--quiet"]);
    cargo.args(EBPF.map(|package| format!("--exclude={package}")));
    cargo.args(filter);
    Ok(cargo)
}
