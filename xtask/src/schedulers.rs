//! Owns the sched_ext schedulers that the tests run, and the loader that auto-ext is compared with:
//! how they are built. Which schedulers, of which version, is in packaging/needed. Debian packages none
//! of them. This repository's own scheduler is built from the sources here. auto-ext's own table of known schedulers is
//! not here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{cargo, output, run, step};
use crate::tools::cargo_install;
use crate::{cache, needed, workspace};

/// scx_loader, which switches schedulers on request, and the command line that requests it.
pub(crate) const SCX_LOADER: [(&str, &str); 2] = [("scx_loader", "1.1.3"), ("scxctl", "1.1.3")];

/// The schedulers that the shipped policy uses.
pub(crate) const OF_SHIPPED_POLICY: &[&str] = &["scx_bpfland", "scx_cosmos"];

/// The scheduler of this repository.
pub(crate) const OWN: &str = "scx_foresight";

/// What it is built from: its crate, those that this one uses, and what says of them all which versions are used and how
/// they are compiled.
const OWN_SOURCES: [&str; 5] = [
    "foresight",
    "foresight-model",
    "service",
    "Cargo.toml",
    "Cargo.lock",
];

/// The programs of all schedulers, built where the cache does not have them yet.
pub(crate) fn ensure() -> Result<Vec<PathBuf>> {
    let mut programs = all_built(needed::schedulers())?;
    programs.push(own()?);
    Ok(programs)
}

/// Of these only those with these names.
pub(crate) fn ensure_only(names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut programs = all_built(needed::schedulers().filter(|(name, _)| names.contains(name)))?;
    if names.contains(&OWN) {
        programs.push(own()?);
    }
    Ok(programs)
}

/// The programs of scx_loader, built where the cache does not have them yet.
pub(crate) fn ensure_scx_loader() -> Result<Vec<PathBuf>> {
    all_built(SCX_LOADER)
}

fn all_built(
    programs: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Result<Vec<PathBuf>> {
    programs
        .into_iter()
        .map(|(name, version)| built(name, version))
        .collect()
}

fn built(name: &str, version: &str) -> Result<PathBuf> {
    let root = cache::entry(format!("scx/{name}-{version}"), |root| {
        step(&format!("building {name} {version}"), || {
            run(cargo_install(root, name, version)
                .env("BPF_CLANG", needed::bpf_clang())
                // They share most of their dependencies: the second takes a third of the time.
                .env("CARGO_TARGET_DIR", cache::path("scx/target")?))
        })
    })?;
    Ok(root.join("bin").join(name))
}

/// Copies the program of this repository's scheduler to where `program` is, and its manual pages and completions to `documents`,
/// where install.sh looks for them.
pub(crate) fn put_own_beside(program: &Path, documents: &Path) -> Result<()> {
    let built = own()?;
    let own = program.with_file_name(OWN);
    fs::copy(&built, &own).with_context(|| format!("cannot write {}", own.display()))?;
    step("writing the manual pages of the scheduler", || {
        run(running_own_example("documents")?.arg(documents))
    })
}

/// What an example of our own scheduler prints, run on this machine.
pub(crate) fn own_example(name: &str) -> Result<String> {
    output(&mut running_own_example(name)?)
}

fn running_own_example(name: &str) -> Result<Command> {
    let mut cargo = own_cargo()?;
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", OWN]);
    cargo.args(["--example", name, "--"]);
    Ok(cargo)
}

/// cargo, able to build it, where the other schedulers are built.
fn own_cargo() -> Result<Command> {
    let mut cargo = cargo();
    cargo.env("BPF_CLANG", needed::bpf_clang());
    cargo.env("CARGO_TARGET_DIR", cache::path("scx/target")?);
    Ok(cargo)
}

/// The program of this repository's scheduler as the sources here have it.
fn own() -> Result<PathBuf> {
    let mut sources = String::new();
    for name in OWN_SOURCES {
        append(&workspace::root().join(name), &mut sources)?;
    }
    let key = cache::fingerprint(&sources);
    let root = cache::entry(format!("scx/{OWN}-{key}"), |root| {
        step(&format!("building {OWN}"), || {
            run(own_cargo()?
                .args(["install", "--locked", "--no-track", "--root"])
                .arg(root)
                .arg("--path")
                .arg(workspace::root().join("foresight")))
        })
    })?;
    Ok(root.join("bin").join(OWN))
}

/// Appends what the file at `path` holds, or all files of the directory there, each behind its path.
fn append(path: &Path, sources: &mut String) -> Result<()> {
    let cannot_read = || format!("cannot read {}", path.display());
    if !path.is_dir() {
        let name = path.strip_prefix(workspace::root()).unwrap_or(path);
        let text = fs::read_to_string(path).with_context(cannot_read)?;
        sources.push_str(&format!("{}\0{text}\0", name.display()));
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(cannot_read)?;
    let entries = entries.map(|entry| Ok(entry?.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<Result<_>>().with_context(cannot_read)?;
    entries.sort();
    entries.iter().try_for_each(|entry| append(entry, sources))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Else a change in a crate that it uses would leave the program in the cache as it was.
    #[test]
    fn our_own_is_built_anew_when_any_crate_that_it_uses_changes() {
        let metadata = workspace::metadata().unwrap();
        let package = |name: &str| {
            metadata
                .packages
                .iter()
                .find(|package| package.name == name)
        };
        let mut missing = vec![package(OWN).unwrap()];
        let mut used = BTreeSet::new();
        while let Some(next) = missing.pop() {
            let here = next.manifest_path.as_std_path().parent().unwrap();
            used.insert(here.strip_prefix(workspace::root()).unwrap().to_owned());
            let paths = next.dependencies.iter().filter(|used| used.path.is_some());
            missing.extend(paths.filter_map(|used| package(&used.name)));
        }
        let listed = OWN_SOURCES.map(PathBuf::from);
        assert!(
            used.iter().all(|crate_| listed.contains(crate_)),
            "{used:?}"
        );
    }

    #[test]
    fn sources_are_told_apart_by_their_paths() {
        let mut service = String::new();
        append(&workspace::root().join("service"), &mut service).unwrap();
        assert!(service.contains("service/src/duration.rs\0//! Durations"));
    }
}
