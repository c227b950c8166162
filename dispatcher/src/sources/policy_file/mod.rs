//! Notices when the policy may have changed.
//!
//! The file itself is not watched, as editors replace it: watched are the directories on its `way`, those that symbolic
//! links lead through, and where the way ends early, the last directory that exists. A file that is being written counts
//! only when whoever writes it has closed it, one that replaces another at once (`changes`). Whether anything changed is
//! found out by reading the policy.
//!
//! Where the kernel gives no watches, the file is looked at every few seconds until it does (`polling`).

mod changes;
mod polling;
#[cfg(test)]
mod tests;
mod watching;
mod way;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use polling::{Identity, Pace, Polling};
use watching::{Start, Watching};

const PACE: Pace = Pace {
    poll_every: Duration::from_secs(5),
    try_first: Duration::from_secs(1),
    try_at_most: Duration::from_secs(60),
};

/// Watches the way to one file.
pub(crate) struct PolicyWatch {
    path: PathBuf,
    start: Start,
    pace: Pace,
    sight: Sight,
}

enum Sight {
    Watching(Watching),
    Polling(Box<Polling>),
}

impl PolicyWatch {
    /// Watches for changes of the file at `path`, which need not exist.
    pub(crate) fn new(path: &Path) -> Self {
        Self::by(path, Box::new(notify::recommended_watcher), PACE)
    }

    fn by(path: &Path, start: Start, pace: Pace) -> Self {
        // This fails only for an empty path, which is none.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let sight = match Watching::start(&path, &start) {
            Ok(watching) => Sight::Watching(watching),
            Err(error) => Sight::Polling(Box::new(Polling::begin(&path, &error, pace))),
        };
        Self {
            path,
            start,
            pace,
            sight,
        }
    }

    /// Why edits are not noticed at once, if they are not.
    pub(crate) fn trouble(&self) -> Option<&str> {
        match &self.sight {
            Sight::Watching(_) => None,
            Sight::Polling(polling) => Some(&polling.why),
        }
    }

    /// Waits until the policy may have changed. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        match &mut self.sight {
            Sight::Watching(watching) => {
                watching.changed().await;
                if let Err(error) = watching.follow(&self.path) {
                    let polling = Polling::begin(&self.path, &error, self.pace);
                    self.sight = Sight::Polling(Box::new(polling));
                }
            }
            Sight::Polling(polling) => loop {
                sleep_until(polling.next_try.min(polling.next_look)).await;
                let now = Instant::now();
                if polling.next_try <= now {
                    if let Ok(watching) = Watching::start(&self.path, &self.start) {
                        let path = self.path.display();
                        tracing::info!("edits of {path} are noticed at once again");
                        self.sight = Sight::Watching(watching);
                        // It may have been edited since it was last looked at.
                        return;
                    }
                    polling.pause = (2 * polling.pause).min(self.pace.try_at_most);
                    polling.next_try = now + polling.pause;
                }
                if polling.next_look <= now {
                    polling.next_look = now + self.pace.poll_every;
                    if polling.sees_another(Identity::of(&self.path)) {
                        return;
                    }
                }
            },
        }
    }
}
