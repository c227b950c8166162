//! Owns the Rust tools: the toolchain's components, and the programs that cargo installs into the
//! cache, each of exactly one version.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache;
use crate::command::{cargo, command, found, output, run, say, step};

/// Must be built with the LLVM major version of the Rust toolchain, which emits the bitcode.
const BPF_LINKER: (&str, &str) = ("bpf-linker", "0.13.0");

/// The variable that names a bpf-linker that is there already.
const LINKER_VARIABLE: &str = "AUTO_EXT_BPF_LINKER";

/// The variable that says where LLVM is; without it, where Debian has it, else where `llvm-config` is.
const LLVM_VARIABLE: &str = "LLVM_PREFIX";

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

/// Adds what is needed to build for another target, if it is missing.
pub(crate) fn ensure_target(target: &str) -> Result<()> {
    if !found("rustup") {
        say(format!(
            "no rustup: taking the standard library for {target} to be there"
        ));
        return Ok(());
    }
    let installed = output(command("rustup").args(["target", "list", "--installed"]))?;
    if installed.lines().any(|line| line == target) {
        return Ok(());
    }
    run(command("rustup").args(["target", "add", target]))
}

/// The bpf-linker program: `$AUTO_EXT_BPF_LINKER`, else one that is built for this toolchain.
pub(crate) fn bpf_linker() -> Result<PathBuf> {
    if let Some(linker) = std::env::var_os(LINKER_VARIABLE) {
        return Ok(linker.into());
    }
    let llvm = llvm()?;
    let (name, version) = BPF_LINKER;
    installed_as(
        &format!("{name}-{version}-llvm-{llvm}"),
        BPF_LINKER,
        |install| {
            let feature = format!("llvm-{llvm}");
            install.args(["--no-default-features", "--features", &feature]);
            let debians = format!("/usr/lib/llvm-{llvm}");
            if std::env::var_os(LLVM_VARIABLE).is_none() && Path::new(&debians).is_dir() {
                install.env(LLVM_VARIABLE, debians);
            }
        },
    )
}

/// The major version of the LLVM in rustc.
pub(crate) fn llvm() -> Result<String> {
    let about = output(command("rustc").args(["--version", "--verbose"]))?;
    let llvm = llvm_version(&about).context("rustc does not say which LLVM it has")?;
    Ok(llvm.to_owned())
}

/// The major version of LLVM in what `rustc --version --verbose` says.
fn llvm_version(about: &str) -> Option<&str> {
    let version = about
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()
}

/// The cargo-deny program.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    installed(CARGO_DENY)
}

/// The cargo-deb program.
pub(crate) fn cargo_deb() -> Result<PathBuf> {
    installed(CARGO_DEB)
}

/// The cargo-generate-rpm program.
pub(crate) fn cargo_generate_rpm() -> Result<PathBuf> {
    installed(CARGO_GENERATE_RPM)
}

fn installed(tool: (&str, &str)) -> Result<PathBuf> {
    let (name, version) = tool;
    installed_as(&format!("{name}-{version}"), tool, |_| ())
}

/// As [`installed`], in the cache under another name than that of the tool and its version.
fn installed_as(
    entry: &str,
    (name, version): (&str, &str),
    adjust: impl FnOnce(&mut std::process::Command),
) -> Result<PathBuf> {
    let root = cache::entry(entry, |root| {
        step(&format!("building {name} {version}"), || {
            let mut install = cargo_install(root, name, version);
            // Each runs for seconds: what optimising all of it takes does not come back.
            install
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_llvm_is_what_rustc_says() {
        let about = "rustc 1.95.0 (59807616e 2026-04-14)\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        assert_eq!(llvm_version(about), Some("22"));
        assert_eq!(llvm_version("rustc 1.95.0\n"), None);
    }
}
