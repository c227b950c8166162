//! Owns the sched_ext schedulers that the tests run, and the loader that auto-ext is compared with:
//! which, of which version, and how they are built. Debian packages none of them. auto-ext's own
//! table of known schedulers is not here.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache;
use crate::command::{run, step};
use crate::tools::cargo_install;

/// Name and version of each scheduler.
pub(crate) const SCHEDULERS: &[(&str, &str)] = &[
    ("scx_bpfland", "1.1.4"),
    ("scx_cosmos", "1.1.7"),
    ("scx_lavd", "1.1.4"),
    ("scx_rusty", "1.1.4"),
    ("scx_flash", "1.1.4"),
    ("scx_beerland", "1.1.4"),
    // The one that decides in user space.
    ("scx_rustland", "1.1.4"),
];

/// scx_loader, which switches schedulers on request, and the command line that requests it.
const SCX_LOADER: &[(&str, &str)] = &[("scx_loader", "1.1.3"), ("scxctl", "1.1.3")];

/// The C compiler for their BPF programs.
const BPF_CLANG: &str = "clang-19";

/// The programs of all schedulers, built where the cache does not have them yet.
pub(crate) fn ensure() -> Result<Vec<PathBuf>> {
    all_built(SCHEDULERS)
}

/// The programs of scx_loader, built where the cache does not have them yet.
pub(crate) fn ensure_scx_loader() -> Result<Vec<PathBuf>> {
    all_built(SCX_LOADER)
}

fn all_built(programs: &[(&str, &str)]) -> Result<Vec<PathBuf>> {
    programs
        .iter()
        .map(|(name, version)| built(name, version))
        .collect()
}

fn built(name: &str, version: &str) -> Result<PathBuf> {
    let root = cache::entry(format!("scx/{name}-{version}"), |root| {
        step(&format!("building {name} {version}"), || {
            run(cargo_install(root, name, version)
                .env("BPF_CLANG", BPF_CLANG)
                // They share most of their dependencies: the second takes a third of the time.
                .env("CARGO_TARGET_DIR", cache::path("scx/target")?))
        })
    })?;
    Ok(root.join("bin").join(name))
}
