//! Whether the machine survives auto-ext: a boot in which it went down soon after the daemon's start has failed, and after
//! two such in a row the safe mode begins.
//!
//! The daemon records each boot when it begins, and again when the machine was up for ten minutes or the daemon was
//! stopped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_service::atomic_file;
use serde::{Deserialize, Serialize};

const FILE: &str = "boot.json";
/// The file is a tenth of that.
const MAX_FILE: u64 = 1024;
/// A boot that lasts for so long after the daemon's start is a good one.
pub(crate) const GOOD_AFTER: Duration = Duration::from_mins(10);
/// After so many failed boots in a row the safe mode begins.
pub(crate) const TOO_MANY: u32 = 2;

/// What is remembered of the last boot with the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Boot {
    /// The kernel's identifier of it.
    id: String,
    good: bool,
    /// How many boots before it failed in a row.
    failed_before: u32,
}

/// The record of the last boots, and the file that has it.
#[derive(Clone, Debug)]
pub(crate) struct Boots {
    path: PathBuf,
    boot: Boot,
}

impl Boots {
    /// Records in `directory` that the daemon begins in this boot, which is identified by /proc below `root`.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn begin(directory: &Path, root: &Path) -> io::Result<Self> {
        let id = fs::read_to_string(root.join("proc/sys/kernel/random/boot_id"))?;
        let id = id.trim().to_owned();
        let path = directory.join(FILE);
        let bytes = atomic_file::read(&path, MAX_FILE)?;
        // Empty before the first boot, or damaged.
        let last = serde_json::from_slice(&bytes).ok();
        let boot = match last {
            // What this daemon does may still bring it down.
            Some(last @ Boot { .. }) if last.id == id => Boot {
                good: false,
                ..last
            },
            Some(Boot {
                good,
                failed_before,
                ..
            }) => Boot {
                id,
                good: false,
                failed_before: failed_before.saturating_add(u32::from(!good)),
            },
            None => Boot {
                id,
                ..Boot::default()
            },
        };
        let boots = Self { path, boot };
        boots.write()?;
        Ok(boots)
    }

    /// How many boots before this one failed in a row.
    pub(crate) fn failed_before(&self) -> u32 {
        self.boot.failed_before
    }

    /// This boot is a good one; [`write`](Self::write) has to follow. If no `schedulers_ran`, because of the safe mode,
    /// that says nothing of them: one more failed boot begins the safe mode again.
    pub(crate) fn good(&mut self, schedulers_ran: bool) {
        self.boot.good = true;
        self.boot.failed_before = if schedulers_ran { 0 } else { TOO_MANY - 1 };
    }

    /// Writes the record.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(crate) fn write(&self) -> io::Result<()> {
        atomic_file::replace(&self.path, [serde_json::to_string(&self.boot)?.as_str()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's root and the state directory.
    fn machine() -> (tempfile::TempDir, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/sys/kernel/random")).unwrap();
        (root, tempfile::tempdir().unwrap())
    }

    fn boot(root: &tempfile::TempDir, state: &tempfile::TempDir, id: &str) -> Boots {
        let file = root.path().join("proc/sys/kernel/random/boot_id");
        fs::write(file, format!("{id}\n")).unwrap();
        Boots::begin(state.path(), root.path()).unwrap()
    }

    #[test]
    fn boots_that_went_down_are_counted_until_one_is_good() {
        let (root, state) = machine();
        assert_eq!(boot(&root, &state, "a").failed_before(), 0);
        assert_eq!(boot(&root, &state, "b").failed_before(), 1);
        assert_eq!(
            boot(&root, &state, "b").failed_before(),
            1,
            "the daemon was restarted"
        );
        let mut third = boot(&root, &state, "c");
        assert_eq!(third.failed_before(), 2);
        third.good(true);
        third.write().unwrap();
        let mut again = boot(&root, &state, "c");
        assert_eq!(again.failed_before(), 0);
        again.good(true);
        again.write().unwrap();
        assert_eq!(boot(&root, &state, "d").failed_before(), 0);
    }

    #[test]
    fn a_daemon_that_is_started_again_has_to_prove_itself_again() {
        let (root, state) = machine();
        let mut first = boot(&root, &state, "a");
        first.good(true);
        first.write().unwrap();
        boot(&root, &state, "a");
        assert_eq!(boot(&root, &state, "b").failed_before(), 1);
    }

    #[test]
    fn a_boot_without_schedulers_says_nothing_of_them() {
        let (root, state) = machine();
        boot(&root, &state, "a");
        boot(&root, &state, "b");
        let mut safe = boot(&root, &state, "c");
        assert_eq!(safe.failed_before(), TOO_MANY);
        safe.good(false);
        safe.write().unwrap();
        assert_eq!(boot(&root, &state, "d").failed_before(), TOO_MANY - 1);
        assert_eq!(boot(&root, &state, "e").failed_before(), TOO_MANY);
    }

    #[test]
    fn a_damaged_file_says_nothing() {
        let (root, state) = machine();
        boot(&root, &state, "a");
        fs::write(state.path().join(FILE), "{\"id\":").unwrap();
        assert_eq!(boot(&root, &state, "b").failed_before(), 0);
    }
}
