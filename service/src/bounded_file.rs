//! Files of /sys and /proc below a root that tests replace, read up to a limit.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Larger are few texts of /proc and /sys, in bytes.
const USUAL: usize = 4096;

/// Where /sys and /proc are.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// Those below this directory, which is `/` but in tests.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// The text of a file; `None` when it cannot be read, is no text or is larger than `limit` bytes: what is cut off may be
    /// taken for something else.
    #[must_use]
    pub fn text(&self, path: &str, limit: usize) -> Option<String> {
        // With room for most, they are read at once.
        let mut bytes = Vec::with_capacity(limit.min(USUAL));
        let file = File::open(self.0.join(path)).ok()?;
        file.take(limit as u64 + 1).read_to_end(&mut bytes).ok()?;
        if bytes.len() > limit {
            return None;
        }
        String::from_utf8(bytes).ok()
    }

    /// What a link leads to, with what would steer a terminal replaced.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<String> {
        let to = fs::read_link(self.0.join(path)).ok()?;
        Some(crate::sanitize::sanitize(&to.to_string_lossy()))
    }

    /// The entries of a directory that are numbers, at most so many; `None` when it cannot be read.
    #[must_use]
    pub fn numbers(&self, path: &str, limit: usize) -> Option<Vec<u32>> {
        let entries = fs::read_dir(self.0.join(path)).ok()?;
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Some(numbers.take(limit).collect())
    }
}
