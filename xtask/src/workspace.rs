//! Owns where things are in this checkout. What is kept between checkouts is in `cache`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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
