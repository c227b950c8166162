//! Notices when the policy may have changed.
//!
//! The file itself is not watched, as editors replace it: watched are the directories on its way,
//! those that symbolic links lead through, and where the way ends early, the last directory that
//! exists. Whether anything changed is found out by reading the policy.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Editors write in several steps; it is read when they are done.
const QUIET: Duration = Duration::from_millis(50);
/// Links that are followed; as many as the kernel does (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// Watches one file's way.
pub(crate) struct PolicyWatch {
    path: PathBuf,
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    happened: Arc<Notify>,
    /// When it is told that something happened.
    told_at: Option<Instant>,
}

impl PolicyWatch {
    /// Watches for changes of the file at `path`, which need not exist.
    ///
    /// # Errors
    /// When the kernel gives no more watches.
    pub(crate) fn new(path: &Path) -> notify::Result<Self> {
        let happened = Arc::new(Notify::new());
        let tell = Arc::clone(&happened);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Events that were lost come as an error; there may be one of ours among them.
            if event.map_or(true, |event| can_change_a_file(event.kind)) {
                tell.notify_one();
            }
        })?;
        let mut watch = Self {
            path: std::path::absolute(path)?,
            watcher,
            watched: BTreeSet::new(),
            happened,
            told_at: None,
        };
        watch.follow()?;
        Ok(watch)
    }

    /// Waits until the policy may have changed. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        let told_at = match self.told_at {
            Some(at) => at,
            None => {
                self.happened.notified().await;
                *self.told_at.insert(Instant::now() + QUIET)
            }
        };
        sleep_until(told_at).await;
        self.told_at = None;
        if let Err(error) = self.follow() {
            let path = self.path.display();
            tracing::warn!("edits of {path} may not be noticed: {error}");
        }
    }

    /// Watches the directories that are on the way now.
    fn follow(&mut self) -> notify::Result<()> {
        let directories = way(&self.path);
        for gone in self.watched.difference(&directories) {
            // One that was removed is not watched any more.
            let _ = self.watcher.unwatch(gone);
        }
        self.watched
            .retain(|directory| directories.contains(directory));
        for directory in directories {
            // Again even if it is watched: it may be another one of the same name.
            let _ = self.watcher.unwatch(&directory);
            self.watcher
                .watch(&directory, RecursiveMode::NonRecursive)?;
            self.watched.insert(directory);
        }
        Ok(())
    }
}

/// Whether such an event can mean that a file is another one now. Reading, which we do ourselves,
/// is none.
fn can_change_a_file(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The directories in which something has to change for `path`, which is absolute, to lead
/// elsewhere or to other contents.
fn way(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut rest: Vec<PathBuf> = steps(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = rest.pop() {
        if step == Path::new("..") {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() && links < MAX_LINKS => {
                links += 1;
                directories.insert(here.clone());
                if let Ok(target) = fs::read_link(&next) {
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    rest.extend(steps(&target));
                }
            }
            Ok(metadata) if metadata.is_dir() && !rest.is_empty() => here = next,
            // The file, or what is missing on the way to it.
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(_) => break,
        }
    }
    directories.insert(here);
    directories
}

/// The steps of a path, the first at the end.
fn steps(path: &Path) -> Vec<PathBuf> {
    let steps = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut steps: Vec<PathBuf> = steps.collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    /// Ends a test that would hang.
    const HANG: Duration = Duration::from_secs(60);
    const A_WHILE: Duration = Duration::from_millis(300);

    async fn notices(watch: &mut PolicyWatch, change: impl FnOnce()) {
        change();
        timeout(HANG, watch.changed()).await.expect("a change");
        // What belongs to the same change may come later.
        while timeout(A_WHILE, watch.changed()).await.is_ok() {}
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_removed_has_changed_and_one_that_is_read_has_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policies.yaml");
        let mut watch = PolicyWatch::new(&path).unwrap();
        notices(&mut watch, || fs::write(&path, "a").unwrap()).await;
        notices(&mut watch, || {
            let new = directory.path().join(".policies.yaml.swp");
            fs::write(&new, "b").unwrap();
            fs::rename(&new, &path).unwrap();
        })
        .await;
        fs::read(&path).unwrap();
        assert!(timeout(A_WHILE, watch.changed()).await.is_err());
        notices(&mut watch, || fs::remove_file(&path).unwrap()).await;
    }

    #[tokio::test]
    async fn a_directory_that_appears_later_or_is_another_one_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/auto-ext");
        let path = directory.join("policies.yaml");
        let mut watch = PolicyWatch::new(&path).unwrap();
        for _ in 0..2 {
            notices(&mut watch, || fs::create_dir_all(&directory).unwrap()).await;
            notices(&mut watch, || fs::write(&path, "a").unwrap()).await;
            notices(&mut watch, || {
                fs::remove_dir_all(root.path().join("etc")).unwrap();
            })
            .await;
        }
    }

    #[tokio::test]
    async fn links_are_watched_and_what_they_lead_to() {
        let root = tempfile::tempdir().unwrap();
        let (real, other, path) = (
            root.path().join("real"),
            root.path().join("other"),
            root.path().join("etc/policies.yaml"),
        );
        for directory in [&real, &other, &root.path().join("etc")] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join("mine.yaml"), "a").unwrap();
        }
        symlink(&real, root.path().join("current")).unwrap();
        symlink("../current/mine.yaml", &path).unwrap();
        let mut watch = PolicyWatch::new(&path).unwrap();
        notices(&mut watch, || {
            fs::write(real.join("mine.yaml"), "b").unwrap();
        })
        .await;
        notices(&mut watch, || {
            symlink(&other, root.path().join("new")).unwrap();
            fs::rename(root.path().join("new"), root.path().join("current")).unwrap();
        })
        .await;
        notices(&mut watch, || {
            fs::write(other.join("mine.yaml"), "c").unwrap();
        })
        .await;
    }

    #[test]
    fn a_circle_of_links_has_an_end() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        assert!(way(&root.path().join("a")).contains(root.path()));
    }
}
