//! Owns the sched_ext schedulers that the tests run, and the loader that auto-ext is compared with:
//! how they are built. Which schedulers, of which version, is in packaging/needed. Debian packages none
//! of them. auto-ext's own table of known schedulers is not here.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{run, step};
use crate::tools::cargo_install;
use crate::{cache, needed};

/// scx_loader, which switches schedulers on request, and the command line that requests it.
pub(crate) const SCX_LOADER: [(&str, &str); 2] = [("scx_loader", "1.1.3"), ("scxctl", "1.1.3")];

/// The schedulers that the shipped policy uses.
pub(crate) const OF_SHIPPED_POLICY: &[&str] = &["scx_bpfland", "scx_cosmos"];

/// The programs of all schedulers, built where the cache does not have them yet.
pub(crate) fn ensure() -> Result<Vec<PathBuf>> {
    all_built(needed::schedulers())
}

/// Of these only those with these names.
pub(crate) fn ensure_only(names: &[&str]) -> Result<Vec<PathBuf>> {
    all_built(needed::schedulers().filter(|(name, _)| names.contains(name)))
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
