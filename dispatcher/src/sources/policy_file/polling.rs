//! Looks at the file every few seconds, where the kernel gives no watches.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// How often what is done where the file cannot be watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How often the file is looked at.
    pub(super) poll_every: Duration,
    /// How soon watching is tried again: at first, and at most, as the time doubles.
    pub(super) try_first: Duration,
    pub(super) try_at_most: Duration,
}

/// The file is looked at every few seconds, as the kernel gives no watches.
pub(super) struct Polling {
    pub(super) why: String,
    /// When to try again to watch it.
    pub(super) next_try: Instant,
    pub(super) pause: Duration,
    /// When to look at the file again.
    pub(super) next_look: Instant,
    /// The file that was read last.
    read: Identity,
    /// The file that was there when it was last looked at, if it was another one.
    found: Option<Identity>,
}

/// What distinguishes a file, with its contents, from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity(Result<[i128; 7], io::ErrorKind>);

impl Polling {
    /// Begins, because of `error`.
    pub(super) fn begin(path: &Path, error: &notify::Error, pace: Pace) -> Self {
        let every = humantime::format_duration(pace.poll_every);
        let why = format!(
            "{} cannot be watched, it is looked at every {every}: {error} (see /proc/sys/fs/inotify)",
            path.display()
        );
        tracing::warn!("{why}");
        let now = Instant::now();
        Self {
            why,
            next_try: now + pace.try_first,
            pause: pace.try_first,
            next_look: now + pace.poll_every,
            read: Identity::of(path),
            found: None,
        }
    }

    /// Whether there is another file than was read last, and it was the same when it was last looked at.
    pub(super) fn sees_another(&mut self, file: Identity) -> bool {
        if file == self.read {
            self.found = None;
        } else if self.found.as_ref() == Some(&file) {
            self.found = None;
            self.read = file;
            return true;
        } else {
            self.found = Some(file);
        }
        false
    }
}

impl Identity {
    pub(super) fn of(path: &Path) -> Self {
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
