//! A path as the steps by which the kernel follows it.

use std::path::{Component, Path, PathBuf};

/// Links that are followed on one way; as many as the kernel follows (MAXSYMLINKS).
pub const MAX_LINKS: usize = 40;

/// The names in `path` and its `..`, the first of them last, so that they can be popped one by one and what a link
/// leads to be pushed. `.` and the leading `/` are left out.
#[must_use]
pub fn steps(path: &Path) -> Vec<PathBuf> {
    let steps = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut steps: Vec<PathBuf> = steps.collect();
    steps.reverse();
    steps
}
