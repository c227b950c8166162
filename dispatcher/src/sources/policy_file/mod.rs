//! Notices when the policy may have changed.
//!
//! The files themselves are not watched, as editors replace them: watched are the directories on their `way`, those that
//! symbolic links lead through, and where a way ends early, the last directory that exists. They are the policy, the files
//! in the directory beside it, whichever come and go, and those of its lists. A file that is being written counts
//! only when whoever writes it has closed it, one that replaces another at once (`changes`). Whether anything changed is
//! found out by reading the policy.
//!
//! Where the kernel gives no watches, the files are looked at every few seconds until it does (`polling`).

mod changes;
mod polling;
#[cfg(test)]
mod tests;
mod watching;
mod way;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use polling::{Identities, Pace, Polling};
use watching::{Start, Watching};
use way::PolicyFiles;

const PACE: Pace = Pace {
    poll_every: Duration::from_secs(5),
    try_first: Duration::from_secs(1),
    try_at_most: Duration::from_secs(60),
};

/// Watches the ways to the files of a policy.
pub(crate) struct PolicyWatch {
    files: PolicyFiles,
    /// The lists among them, as they were named.
    lists: Vec<PathBuf>,
    start: Start,
    pace: Pace,
    sight: Sight,
}

enum Sight {
    Watching(Watching),
    Polling(Box<Polling>),
}

impl PolicyWatch {
    /// Watches for changes of the policy at `path`, which need not exist.
    pub(crate) fn new(path: &Path) -> Self {
        Self::by(path, Box::new(notify::recommended_watcher), PACE)
    }

    fn by(path: &Path, start: Start, pace: Pace) -> Self {
        let files = PolicyFiles {
            policy: absolute(path),
            ..PolicyFiles::default()
        };
        let sight = match Watching::start(&files, &start) {
            Ok(watching) => Sight::Watching(watching),
            Err(error) => Sight::Polling(Box::new(Polling::begin(&files, &error, pace))),
        };
        Self {
            files,
            lists: Vec::new(),
            start,
            pace,
            sight,
        }
    }

    /// Watches the files of these lists too, and of no others.
    pub(crate) fn watch_lists(&mut self, lists: &[PathBuf]) {
        if lists == self.lists {
            return;
        }
        self.lists = lists.to_vec();
        self.files.lists = lists.iter().map(|path| absolute(path)).collect();
        if let Sight::Watching(watching) = &self.sight {
            watching.read_again();
        }
        self.follow();
    }

    fn follow(&mut self) {
        if let Sight::Watching(watching) = &mut self.sight
            && let Err(error) = watching.follow(&self.files)
        {
            let polling = Polling::begin(&self.files, &error, self.pace);
            self.sight = Sight::Polling(Box::new(polling));
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
                self.follow();
            }
            Sight::Polling(polling) => loop {
                sleep_until(polling.next_try.min(polling.next_look)).await;
                let now = Instant::now();
                if polling.next_try <= now {
                    if let Ok(watching) = Watching::start(&self.files, &self.start) {
                        let path = self.files.policy.display();
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
                    if polling.sees_others(Identities::of(&self.files)) {
                        return;
                    }
                }
            },
        }
    }
}

/// This fails only for an empty path, which is none.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
