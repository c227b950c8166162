//! The notices of the libraries that are linked into the program: most licences want them to go along
//! with it. Which licences may be used at all is said by deny.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};

use crate::workspace;

/// The packages that the programs are linked from: themselves, and the BPF programs that are in one.
const LINKED: &[&str] = &[
    "auto-ext-dispatcher",
    "auto-ext-profiler-ebpf",
    "auto-ext-smt",
    "auto-ext-vm",
    "scx_foresight",
];
/// How the names of files begin that have to go along.
const NOTICES: &[&str] = &[
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];

const HEAD: &str = "\
The programs of auto-ext contain the libraries below, and the Rust standard library (MIT OR Apache-2.0, https://www.rust-lang.org).
Each has its licence and the texts that come with it; a text that several have stands where it comes first.
";

/// Writes the notices into `file`.
pub(crate) fn write(file: &Path) -> Result<()> {
    let metadata = workspace::metadata()?;
    let mut text = HEAD.to_owned();
    let mut said = BTreeMap::new();
    for package in linked(&metadata)? {
        let name = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().unwrap_or("see below");
        let from = package.repository.as_deref().unwrap_or("crates.io");
        write!(text, "\n{0}\n{name}\n{license}\n{from}\n", "=".repeat(80))?;
        for notice in notices(package)? {
            match said.get(&notice) {
                Some(other) => writeln!(text, "\n(as with {other})")?,
                None => {
                    writeln!(text, "\n{}", notice.trim_end())?;
                    said.insert(notice, name.clone());
                }
            }
        }
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The packages of others that end up in the program, by name. Macros and what builds do not.
fn linked(metadata: &Metadata) -> Result<Vec<&Package>> {
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo names no dependencies")?;
    let nodes: BTreeMap<&PackageId, _> =
        resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let roots = metadata
        .packages
        .iter()
        .filter(|package| LINKED.contains(&package.name.as_str()));
    let mut ahead: Vec<&Package> = roots.collect();
    ensure!(
        ahead.len() == LINKED.len(),
        "not all of {LINKED:?} are in the workspace"
    );
    let mut found = BTreeSet::new();
    while let Some(package) = ahead.pop() {
        let is_macro = package
            .targets
            .iter()
            .any(cargo_metadata::Target::is_proc_macro);
        if is_macro || !found.insert((&package.name, &package.version, &package.id)) {
            continue;
        }
        let deps = nodes.get(&package.id).map_or(&[][..], |node| &node.deps);
        ahead.extend(
            deps.iter()
                .filter(|dep| {
                    dep.dep_kinds
                        .iter()
                        .any(|dep| dep.kind == DependencyKind::Normal)
                })
                .map(|dep| &metadata[&dep.pkg]),
        );
    }
    let others = found.iter().map(|(_, _, id)| &metadata[*id]);
    Ok(others.filter(|package| package.source.is_some()).collect())
}

/// The texts that come with `package`, by the names of their files.
fn notices(package: &Package) -> Result<Vec<String>> {
    let directory = package
        .manifest_path
        .parent()
        .context("a package nowhere")?;
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_uppercase();
        if NOTICES.iter().any(|notice| name.starts_with(notice)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let texts = files
        .iter()
        .map(|path| fs::read_to_string(path).with_context(|| path.display().to_string()));
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_named_and_what_only_builds_or_tests_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path()).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let names = |package: &str| text.contains(&format!("=\n{package} "));
        for linked in ["tokio", "zbus", "aya", "aya-ebpf", "libbpf-rs"] {
            assert!(names(linked), "{linked}");
        }
        for other in [
            "auto-ext-profiler",
            "serde_derive",
            "proptest",
            "libtest-mimic",
        ] {
            assert!(!names(other), "{other}");
        }
        assert!(text.contains("Permission is hereby granted"));
    }
}
