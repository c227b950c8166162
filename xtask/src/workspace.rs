//! Owns where things are in this checkout. What is kept between checkouts is in `cache`.

use std::path::{Path, PathBuf};

/// The workspace's root directory.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
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
