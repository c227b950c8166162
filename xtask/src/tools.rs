//! Owns the Rust tools: the toolchain's components, and the programs that cargo installs into the
//! cache, each of exactly one version.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cache;
use crate::command::{cargo, command, found, output, run, say, step};

/// Must be built with the LLVM major version of the Rust toolchain, which emits the bitcode.
const BPF_LINKER: (&str, &str) = ("bpf-linker", "0.13.0");
const LLVM_FEATURE: &str = "llvm-22";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

const CARGO_DENY: (&str, &str) = ("cargo-deny", "0.20.2");
const CARGO_DEB: (&str, &str) = ("cargo-deb", "3.8.0");
const CARGO_GENERATE_RPM: (&str, &str) = ("cargo-generate-rpm", "0.21.1");

/// What the build and the checks use beside rustc and cargo.
const COMPONENTS: &[&str] = &["rust-src", "rustfmt", "clippy"];

/// Adds the toolchain's components that are missing.
pub(crate) fn ensure_components() -> Result<()> {
    if !found("rustup") {
        // A distribution's own toolchain brings the same as packages; cargo names what it lacks.
        say("no rustup: taking rust-src, rustfmt and clippy to be there");
        return Ok(());
    }
    let installed = output(command("rustup").args(["component", "list", "--installed"]))?;
    let has = |name: &str| {
        installed
            .lines()
            .any(|line| line == name || line.starts_with(&format!("{name}-x86_64")))
    };
    let missing: Vec<_> = COMPONENTS.iter().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run(command("rustup").args(["component", "add"]).args(missing))
}

/// The bpf-linker program.
pub(crate) fn bpf_linker() -> Result<PathBuf> {
    installed(BPF_LINKER, |install| {
        install.args(["--no-default-features", "--features", LLVM_FEATURE]);
        install.env("LLVM_PREFIX", LLVM_PREFIX);
    })
}

/// The cargo-deny program.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    installed(CARGO_DENY, |_| ())
}

/// The cargo-deb program.
pub(crate) fn cargo_deb() -> Result<PathBuf> {
    installed(CARGO_DEB, |_| ())
}

/// The cargo-generate-rpm program.
pub(crate) fn cargo_generate_rpm() -> Result<PathBuf> {
    installed(CARGO_GENERATE_RPM, |_| ())
}

fn installed(
    (name, version): (&str, &str),
    adjust: impl FnOnce(&mut std::process::Command),
) -> Result<PathBuf> {
    let root = cache::entry(format!("{name}-{version}"), |root| {
        step(&format!("building {name} {version}"), || {
            let mut install = cargo_install(root, name, version);
            adjust(&mut install);
            run(&mut install)
        })
    })?;
    Ok(root.join("bin").join(name))
}

/// `cargo install` of exactly one version, away from this workspace's settings.
pub(crate) fn cargo_install(root: &Path, name: &str, version: &str) -> std::process::Command {
    let mut install = cargo();
    install.current_dir("/").env_remove("CARGO_TARGET_DIR");
    // Else cargo advises to add the unfinished directory to PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    install.env("PATH", format!("{path}:{}", root.join("bin").display()));
    install
        .args(["install", "--locked", "--root"])
        .arg(root)
        .arg(format!("{name}@{version}"));
    install
}
