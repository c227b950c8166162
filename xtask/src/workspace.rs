//! Owns where things are in this checkout. What is kept between checkouts is in `cache`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::command::{command, output};

/// The workspace's root directory.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        // As cargo says that runs this program: with a target directory that two checkouts share, it may have been
        // compiled in the other one.
        let now = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let xtask = now.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        xtask.parent().map(Path::to_owned).unwrap_or(xtask)
    })
}

/// What cargo knows of the workspace and of all that it is built from on this machine.
pub(crate) fn metadata() -> Result<Metadata> {
    let host = output(command("rustc").args(["--print", "host-tuple"]))?;
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked", "--filter-platform", host.trim()].map(str::to_owned))
        .exec()
        .context("what the program is made of is not known")
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    // Relative to where cargo was called, as cargo itself takes it; xtask runs there too.
    match std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir)),
        None => root().join("target"),
    }
}

/// A program of the release build.
pub(crate) fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// A program of the build for packages.
pub(crate) fn distribution(name: &str) -> PathBuf {
    target().join("distribution").join(name)
}
