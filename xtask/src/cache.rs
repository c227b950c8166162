//! Owns the cache of what is costly to get: built tools, schedulers, kernels, the machine's root.
//!
//! Every entry is keyed by version, is made in a temporary sibling and renamed into place when it
//! is complete, and is made once however many runs want it: what exists is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The cache's directory: `$XDG_CACHE_HOME/auto-ext`, else `~/.cache/auto-ext`.
pub(crate) fn directory() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => cache,
        (None, Some(home)) => home.join(".cache"),
        (None, None) => bail!("neither XDG_CACHE_HOME nor HOME is set: no place for the cache"),
    };
    Ok(base.join("auto-ext"))
}

/// The path of the entry `name`, whether or not it exists.
pub(crate) fn path(name: impl AsRef<Path>) -> Result<PathBuf> {
    Ok(directory()?.join(name))
}

/// The entry `name` (a file or a directory), made by `make` at the path it is given if the cache
/// does not have it yet.
pub(crate) fn entry(
    name: impl AsRef<Path>,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let place = path(name)?;
    if place.exists() {
        return Ok(place);
    }
    let _lock = lock(&place)?;
    if place.exists() {
        return Ok(place);
    }
    let unfinished = sibling(&place, "unfinished");
    remove(&unfinished)?;
    make(&unfinished)?;
    fs::rename(&unfinished, &place)
        .with_context(|| format!("cannot put {} into place", place.display()))?;
    Ok(place)
}

/// Holds `place` for this process until the result is dropped; waits for another that holds it.
pub(crate) fn lock(place: &Path) -> Result<File> {
    let path = sibling(place, "lock");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn sibling(place: &Path, what: &str) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.{what}"))
}

fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    result.with_context(|| format!("cannot remove {}", path.display()))
}

/// A short name for `text` that changes when it does: the key of what is made from it.
pub(crate) fn fingerprint(text: &str) -> String {
    // FNV-1a: the key stays the same from one toolchain to the next, unlike std's hasher.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_changes_with_the_text() {
        assert_eq!(fingerprint(""), "cbf29ce484222325");
        assert_ne!(fingerprint("a b"), fingerprint("ab"));
    }

    #[test]
    fn the_unfinished_entry_is_a_sibling_of_the_finished_one() {
        assert_eq!(
            sibling(Path::new("/c/root-1"), "lock"),
            Path::new("/c/.root-1.lock")
        );
    }
}
