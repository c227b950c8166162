//! Has the kernel report changes of the directories on the ways to the files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use auto_ext_service::lock::lock;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::changes::Changes;
use super::way::PolicyFiles;

/// What a watcher does with its events.
pub(super) type Handler = Box<dyn FnMut(notify::Result<Event>) + Send>;
/// How a watcher is started.
pub(super) type Start = Box<dyn Fn(Handler) -> notify::Result<RecommendedWatcher> + Send>;

/// The kernel reports changes of the directories on the way.
pub(super) struct Watching {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    changes: Arc<Mutex<Changes>>,
    /// There was an event about the way.
    event: Arc<Notify>,
}

impl Watching {
    /// Watches the ways to `files`.
    pub(super) fn start(files: &PolicyFiles, start: &Start) -> notify::Result<Self> {
        let changes = Arc::new(Mutex::new(Changes::default()));
        let event = Arc::new(Notify::new());
        let (recorded, notified) = (Arc::clone(&changes), Arc::clone(&event));
        let watcher = start(Box::new(move |event| {
            if lock(&recorded).record(event) {
                notified.notify_one();
            }
        }))?;
        let mut watching = Self {
            watcher,
            watched: BTreeSet::new(),
            changes,
            event,
        };
        watching.follow(files)?;
        Ok(watching)
    }

    /// Waits until one of the files may be another one.
    pub(super) async fn changed(&self) {
        loop {
            let due = lock(&self.changes).due();
            match due {
                None => self.event.notified().await,
                // A further event may say that it is being written again.
                Some(due) => drop(timeout_at(due, self.event.notified()).await),
            }
            let mut changes = lock(&self.changes);
            if changes.due().is_some_and(|due| due <= Instant::now()) {
                (changes.changed, changes.writing) = (None, None);
                return;
            }
        }
    }

    /// Has the files read once more: they may have changed before they were watched.
    pub(super) fn read_again(&self) {
        lock(&self.changes).may_be_another(Instant::now());
    }

    /// Watches the directories that are on the way now.
    pub(super) fn follow(&mut self, files: &PolicyFiles) -> notify::Result<()> {
        let ways = files.ways();
        let moved = {
            let mut changes = lock(&self.changes);
            changes.ways.clone_from(&ways);
            std::mem::take(&mut changes.moved)
        };
        let way = ways.way;
        let old = std::mem::take(&mut self.watched);
        for directory in &old {
            // One of the same name may be another directory. One that was removed is not watched any more.
            if moved || !way.contains_key(directory) {
                let _ = self.watcher.unwatch(directory);
            }
        }
        for directory in way.into_keys() {
            if moved || !old.contains(&directory) {
                self.watcher
                    .watch(&directory, RecursiveMode::NonRecursive)?;
            }
            self.watched.insert(directory);
        }
        Ok(())
    }
}
