//! The files that a policy is made of, with what was read of them elsewhere.

use std::path::{Path, PathBuf};

/// The most files of a policy beside the first.
pub const MAX_PARTS: usize = 64;

/// Reads the names of a list, or says in a few words why it cannot. Of a longer file than [`MAX_LIST_BYTES`](crate::MAX_LIST_BYTES) one byte
/// more is enough.
pub type ReadList<'f> = dyn FnMut(&Path) -> Result<Vec<u8>, String> + 'f;

/// A file of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it is called in messages. The paths of lists in it are relative to its directory.
    pub path: PathBuf,
    /// What is in it, or why it cannot be read. Of a longer file than [`MAX_BYTES`](crate::MAX_BYTES), one byte more is
    /// enough.
    pub contents: Result<Vec<u8>, String>,
}

/// The files of a policy, but for those of its lists, which are asked for.
pub struct Files<'f> {
    /// The one that has the settings.
    pub main: File,
    /// Those that hold further rules, lists and schedulers alone, in their order; no more than [`MAX_PARTS`].
    pub parts: Vec<File>,
    /// Reads a list by its path.
    pub read_list: Box<ReadList<'f>>,
}

impl Files<'_> {
    /// A policy of one file, whose lists cannot be read from others.
    pub(super) fn alone(path: &Path, contents: Vec<u8>) -> Self {
        Self {
            main: File {
                path: path.to_owned(),
                contents: Ok(contents),
            },
            parts: Vec::new(),
            read_list: Box::new(|_| Err("other files are not read here".to_owned())),
        }
    }
}
