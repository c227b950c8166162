//! Reads the files of another tool: one, or those below a directory, of bounded number, size and depth.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sources::bounded_file;

const MAX_FILES: usize = 5_000;
const MAX_DEPTH: usize = 6;
/// In bytes.
const MAX_FILE: usize = 4 << 20;
/// Of all files, in bytes.
const MAX_ALL: usize = 64 << 20;

/// A file and its text.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The files at or below `place` whose names end in this, in the order of their paths, and which cannot be read and why.
pub(super) fn read(place: &Path, extension: &str) -> Result<(Vec<Source>, Vec<String>), String> {
    let mut paths = Vec::new();
    if place.is_dir() {
        gather(place, extension, MAX_DEPTH, &mut paths)?;
        paths.sort();
    } else {
        paths.push(place.to_owned());
    }
    let (mut sources, mut unread) = (Vec::new(), Vec::new());
    let mut left = MAX_ALL;
    for path in paths {
        let max = MAX_FILE.min(left);
        match bounded_file::read(&path, max) {
            Ok(bytes) if bytes.len() <= max => {
                left -= bytes.len();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                sources.push(Source { path, text });
            }
            Ok(_) => unread.push(format!("{} (too large)", path.display())),
            Err(why) => unread.push(format!("{} ({why})", path.display())),
        }
    }
    if sources.is_empty() {
        let why = unread
            .first()
            .cloned()
            .unwrap_or_else(|| format!("no file below {} ends in `.{extension}`", place.display()));
        return Err(why);
    }
    Ok((sources, unread))
}

/// Links to directories are not followed, as they may lead in circles.
fn gather(
    directory: &Path,
    extension: &str,
    depth: usize,
    paths: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let cannot = |error| format!("{} cannot be read: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && depth > 0 {
            gather(&path, extension, depth - 1, paths)?;
        } else if !is_directory && path.extension().is_some_and(|it| it == extension) {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            return Err(format!("there are more than {MAX_FILES} such files"));
        }
    }
    Ok(())
}
