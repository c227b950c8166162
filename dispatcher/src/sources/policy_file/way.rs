//! The way to a file: the directories that it goes through, also by links, and the names in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use auto_ext_service::file_access::{MAX_LINKS, steps};

/// The directories of a way, each with the names in it that the way goes by.
pub(super) type Way = BTreeMap<PathBuf, BTreeSet<OsString>>;

/// The directories in which something has to change for `path`, which is absolute, to lead
/// elsewhere or to other contents, and by which names.
pub(super) fn way(path: &Path) -> Way {
    let mut way = Way::new();
    let mut rest: Vec<PathBuf> = steps(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = rest.pop() {
        if step == Path::new("..") {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        let mut by = |here: &Path| {
            let names = way.entry(here.to_owned()).or_default();
            names.insert(step.clone().into_os_string());
        };
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() && links < MAX_LINKS => {
                links += 1;
                by(&here);
                if let Ok(target) = fs::read_link(&next) {
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    rest.extend(steps(&target));
                }
            }
            Ok(metadata) if metadata.is_dir() && !rest.is_empty() => here = next,
            // The file, or what is missing on the way to it.
            _ => {
                by(&here);
                break;
            }
        }
    }
    way
}
