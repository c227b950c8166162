//! Looks at the files every few seconds, where the kernel gives no watches.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::way::PolicyFiles;

/// How often what is done where the file cannot be watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How often the file is looked at.
    pub(super) poll_every: Duration,
    /// How soon watching is tried again: at first, and at most, as the time doubles.
    pub(super) try_first: Duration,
    pub(super) try_at_most: Duration,
}

/// The files are looked at every few seconds, as the kernel gives no watches.
pub(super) struct Polling {
    pub(super) why: String,
    /// When to try again to watch it.
    pub(super) next_try: Instant,
    pub(super) pause: Duration,
    /// When to look at the file again.
    pub(super) next_look: Instant,
    /// The files that were read last.
    read: Identities,
    /// Those that were there when they were last looked at, if they were others.
    found: Option<Identities>,
}

/// What distinguishes files, with their contents, from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identities(Vec<(PathBuf, Identity)>);

/// What distinguishes a file, with its contents, from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity(Result<[i128; 7], io::ErrorKind>);

impl Polling {
    /// Begins, because of `error`.
    pub(super) fn begin(files: &PolicyFiles, error: &notify::Error, pace: Pace) -> Self {
        let every = humantime::format_duration(pace.poll_every);
        let why = format!(
            "{} cannot be watched, it is looked at every {every}: {error} (see /proc/sys/fs/inotify)",
            files.policy.display()
        );
        tracing::warn!("{why}");
        let now = Instant::now();
        Self {
            why,
            next_try: now + pace.try_first,
            pause: pace.try_first,
            next_look: now + pace.poll_every,
            read: Identities::of(files),
            found: None,
        }
    }

    /// Whether there are other files than were read last, and they were the same when they were last looked at.
    pub(super) fn sees_others(&mut self, files: Identities) -> bool {
        if files == self.read {
            self.found = None;
        } else if self.found.as_ref() == Some(&files) {
            self.found = None;
            self.read = files;
            return true;
        } else {
            self.found = Some(files);
        }
        false
    }
}

impl Identities {
    pub(super) fn of(files: &PolicyFiles) -> Self {
        let with_identity = |path: PathBuf| {
            let identity = Identity::of(&path);
            (path, identity)
        };
        Self(files.all().into_iter().map(with_identity).collect())
    }
}

impl Identity {
    fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).map_err(|error| error.kind());
        Self(metadata.map(|file| {
            [
                file.dev().into(),
                file.ino().into(),
                file.size().into(),
                file.mtime().into(),
                file.mtime_nsec().into(),
                file.ctime().into(),
                file.ctime_nsec().into(),
            ]
        }))
    }
}
