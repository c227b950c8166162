//! From the kernel's events about directories to whether a file may be another one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind};
use tokio::time::Instant;

use super::way::Ways;

/// Editors write in several steps; the file is read when there was no further one for this long.
pub(super) const QUIET: Duration = Duration::from_millis(50);
/// A file that has changed is read after this time even when whoever writes it has not closed it: the event of closing
/// may have been lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of the ways from events.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) ways: Ways,
    /// Since when one of the files may be another one.
    pub(super) changed: Option<Instant>,
    /// When it was last written to by somebody who has not closed it.
    pub(super) writing: Option<Instant>,
    /// One of the directories was moved or removed, or events were lost.
    pub(super) moved: bool,
}

impl Changes {
    /// Records an event. Returns whether it is about one of the ways.
    pub(super) fn record(&mut self, event: notify::Result<Event>) -> bool {
        let now = Instant::now();
        let Some(event) = event.ok().filter(|event| !event.need_rescan()) else {
            // Events were lost; some may have been about the way.
            self.moved = true;
            self.may_be_another(now);
            return true;
        };
        let on_the_way = event.paths.iter().find(|path| self.ways.lead_by(path));
        let directory = event
            .paths
            .iter()
            .any(|path| self.ways.way.contains_key(path));
        let Some(path) = on_the_way else {
            if directory && !matches!(event.kind, EventKind::Access(_)) {
                self.moved |= !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_)));
                self.may_be_another(now);
                return true;
            }
            return false;
        };
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.may_be_another(now),
            // Reading, which we do ourselves, changes nothing.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => self.writing = Some(now),
            EventKind::Create(_) if is_new_file(path) => self.writing = Some(now),
            // For instance who may read it, which may change while it is written.
            EventKind::Modify(ModifyKind::Metadata(_)) => {
                self.changed.get_or_insert(now);
            }
            _ => {
                self.moved |= directory;
                self.may_be_another(now);
            }
        }
        true
    }

    /// The file may be another one now, and a complete one.
    pub(super) fn may_be_another(&mut self, now: Instant) {
        self.writing = None;
        self.changed.get_or_insert(now);
    }

    /// When the file is to be read; `None`: not before a further event.
    pub(super) fn due(&self) -> Option<Instant> {
        let changed = self.changed?;
        let quiet = changed + QUIET;
        Some(
            self.writing
                .map_or(quiet, |writing| quiet.max(writing + PATIENCE)),
        )
    }
}

/// Whether what was just made there is a file that will be written and closed, unlike a directory or a link.
fn is_new_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|made| made.is_file() && made.nlink() == 1)
}
