//! The ways to all files of a policy: the directories that they go through, also by links, and the names in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use auto_ext_service::file_access::{MAX_LINKS, steps};

use crate::sources::policy_directory;

/// The directories of a way, each with the names in it that the way goes by.
pub(super) type Way = BTreeMap<PathBuf, BTreeSet<OsString>>;

/// The files of a policy, by absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PolicyFiles {
    pub(super) policy: PathBuf,
    pub(super) lists: BTreeSet<PathBuf>,
}

/// The ways to all files of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) way: Way,
    /// The directory beside the policy, of which further files may become part.
    pub(super) parts: Option<PathBuf>,
}

impl PolicyFiles {
    /// All that may be read for the policy, and the directory of some of it.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        let directory = policy_directory::beside(&self.policy);
        let parts = policy_directory::find(&directory).unwrap_or_default().parts;
        let first = [self.policy.clone(), directory].into_iter();
        first
            .chain(parts)
            .chain(self.lists.iter().cloned())
            .collect()
    }

    /// The ways to them.
    pub(super) fn ways(&self) -> Ways {
        let mut ways = Ways::default();
        for path in self.all() {
            for (directory, names) in way(&path) {
                ways.way.entry(directory).or_default().extend(names);
            }
        }
        let directory = policy_directory::beside(&self.policy);
        if directory.is_dir()
            && let Ok(directory) = fs::canonicalize(directory)
        {
            ways.way.entry(directory.clone()).or_default();
            ways.parts = Some(directory);
        }
        ways
    }
}

impl Ways {
    /// Whether one of them goes by `path`.
    pub(super) fn lead_by(&self, path: &Path) -> bool {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        let names = self.way.get(directory);
        names.is_some_and(|names| names.contains(name))
            || (self.parts.as_deref() == Some(directory) && policy_directory::is_part(name))
    }
}

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
