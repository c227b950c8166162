//! What only grows, over restarts of the daemon.
//!
//! Kept in a file that the next boot does not have: a counter may begin at zero, which readers
//! notice, but never go back a little, which they would take for much. So nothing is told that is
//! not in the file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::history::{Entry, Kind};
use crate::state_file;

/// How many names of each kind are told apart.
const MAX_NAMES: usize = 50;
/// What all further names count as.
const OTHER: &str = "other";
/// How long a name may be, in bytes.
const MAX_NAME: usize = 128;
/// How much of the file is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
const FILE: &str = "counters.json";
/// What only time adds is written at most this often, however often somebody asks.
const KEPT_EVERY: Duration = Duration::from_secs(1);

/// The upper bounds of the buckets of gaps, in seconds; one more is without bound.
pub(crate) const GAPS: [f64; 9] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// The counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counters {
    /// Switches, from one scheduler to another.
    pub(crate) switches: BTreeMap<String, BTreeMap<String, u64>>,
    /// Switches that failed, by what was to run.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Schedulers that ended by themselves.
    pub(crate) exits: BTreeMap<String, u64>,
    /// Changes by somebody else.
    pub(crate) foreign: u64,
    /// Requests that were refused.
    pub(crate) refusals: u64,
    /// Starts of the daemon.
    pub(crate) starts: u64,
    /// Seconds in which each scheduler ran.
    pub(crate) scheduler_seconds: BTreeMap<String, f64>,
    /// Seconds in which the load was of each class.
    pub(crate) class_seconds: BTreeMap<String, f64>,
    /// Gaps of switches by [`GAPS`].
    pub(crate) gaps: [u64; GAPS.len() + 1],
    /// The sum of all gaps, in seconds.
    pub(crate) gap_seconds: f64,
}

impl Counters {
    /// Counts what happened.
    pub(crate) fn count(&mut self, entry: &Entry) {
        match entry.event {
            Kind::Started => self.starts += 1,
            Kind::Switched => {
                let from = slot(&mut self.switches, &entry.from);
                *slot(from, &entry.to) += 1;
                if let Some(gap_us) = entry.gap_us {
                    let gap = Duration::from_micros(gap_us).as_secs_f64();
                    let bucket = GAPS.iter().position(|bound| gap <= *bound);
                    self.gaps[bucket.unwrap_or(GAPS.len())] += 1;
                    self.gap_seconds += gap;
                }
            }
            Kind::Failed => *slot(&mut self.failures, &entry.to) += 1,
            Kind::Exited => *slot(&mut self.exits, &entry.from) += 1,
            Kind::Foreign => self.foreign += 1,
            Kind::Refused => self.refusals += 1,
            Kind::Stopped => {}
        }
    }

    /// Counts time that has passed.
    pub(crate) fn passed(&mut self, time: Duration, scheduler: &str, class: &str) {
        *slot(&mut self.scheduler_seconds, scheduler) += time.as_secs_f64();
        *slot(&mut self.class_seconds, class) += time.as_secs_f64();
    }

    /// Whether no number is one that cannot have been counted.
    fn is_sound(&self) -> bool {
        let times = self.scheduler_seconds.values();
        let mut times = times
            .chain(self.class_seconds.values())
            .chain([&self.gap_seconds]);
        times.all(|time| time.is_finite() && *time >= 0.0)
    }
}

/// The value of `name`, or of all others where there are too many names.
fn slot<'m, V: Default>(values: &'m mut BTreeMap<String, V>, name: &str) -> &'m mut V {
    let name = &name[..name.floor_char_boundary(MAX_NAME)];
    let name = if values.len() < MAX_NAMES || values.contains_key(name) {
        name
    } else {
        OTHER
    };
    values.entry(name.to_owned()).or_default()
}

/// The counters, and the file that has them.
#[derive(Debug)]
pub(crate) struct Kept {
    now: Counters,
    /// What is in the file.
    written: Counters,
    written_at: Option<Instant>,
    /// None where it is another daemon's.
    path: Option<PathBuf>,
    trouble: bool,
}

impl Kept {
    /// Goes on counting where `directory` says that it ended, else at zero.
    pub(crate) fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let now = read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("counters begin at zero: {}: {error}", path.display());
            }
            Counters::default()
        });
        Self {
            written: now.clone(),
            now,
            written_at: None,
            path: Some(path),
            trouble: false,
        }
    }

    /// Counts from zero, for whoever asks while this runs.
    pub(crate) fn in_memory() -> Self {
        Self {
            now: Counters::default(),
            written: Counters::default(),
            written_at: None,
            path: None,
            trouble: false,
        }
    }

    /// The counters, to be counted with.
    pub(crate) fn counters(&mut self) -> &mut Counters {
        &mut self.now
    }

    /// The counters, to be told: they are in the file by then.
    pub(crate) fn told(&mut self) -> Counters {
        if self.written_at.is_none_or(|at| at.elapsed() >= KEPT_EVERY) {
            self.keep();
        }
        self.written.clone()
    }

    /// Writes the counters for the next daemon, if they are not what is in the file.
    pub(crate) fn keep(&mut self) {
        if self.now == self.written && self.written_at.is_some() {
            return;
        }
        self.written.clone_from(&self.now);
        self.written_at = Some(Instant::now());
        let Some(path) = &self.path else {
            return;
        };
        let written = write(path, &self.now);
        if let Err(error) = &written
            && !self.trouble
        {
            let path = path.display();
            tracing::warn!("counters will not outlive the daemon: {path}: {error}");
        }
        self.trouble = written.is_err();
    }
}

fn read(path: &Path) -> io::Result<Counters> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    let counters: Counters = serde_json::from_str(&text)?;
    if counters.is_sound() {
        Ok(counters)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a time is negative or infinite",
        ))
    }
}

fn write(path: &Path, counters: &Counters) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // The file is in memory: nothing is waited for.
    let text = serde_json::to_string(counters)?;
    state_file::replace(path, [text.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: Kind, from: &str, to: &str, gap_us: Option<u64>) -> Entry {
        Entry {
            at: 0,
            event,
            from: from.into(),
            to: to.into(),
            class: String::new(),
            reason: String::new(),
            error: String::new(),
            way: None,
            gap_us,
        }
    }

    #[test]
    fn what_was_told_is_where_the_next_daemon_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(directory.path());
        assert_eq!(*kept.counters(), Counters::default());
        let counters = kept.counters();
        counters.count(&entry(Kind::Switched, "kernel", "scx_a", Some(700)));
        counters.count(&entry(Kind::Switched, "kernel", "scx_a", Some(2_000_000)));
        counters.count(&entry(Kind::Failed, "kernel", "scx_b", None));
        counters.passed(Duration::from_millis(1500), "scx_a", "idle");
        let told = kept.told();
        drop(kept);
        assert_eq!(*Kept::open(directory.path()).counters(), told);
        assert_eq!(told.switches["kernel"]["scx_a"], 2);
        assert_eq!(told.failures["scx_b"], 1);
        assert_eq!(told.scheduler_seconds["scx_a"], 1.5);
        assert_eq!((told.gaps[2], told.gaps[GAPS.len()]), (1, 1));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_zero() {
        let directory = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{",
            "[]",
            r#"{"gap_seconds": -1.0}"#,
            r#"{"starts": -1}"#,
        ] {
            fs::write(directory.path().join(FILE), text).unwrap();
            let mut kept = Kept::open(directory.path());
            assert_eq!(*kept.counters(), Counters::default(), "{text}");
        }
    }

    #[test]
    fn any_number_of_names_takes_bounded_room() {
        let mut counters = Counters::default();
        for number in 0..1000 {
            let name = format!("{number}{}", "ü".repeat(200));
            counters.count(&entry(Kind::Failed, "kernel", &name, None));
        }
        assert_eq!(counters.failures.len(), MAX_NAMES + 1);
        assert_eq!(counters.failures[OTHER], 1000 - MAX_NAMES as u64);
        assert!(counters.failures.keys().all(|name| name.len() <= MAX_NAME));
    }

    #[test]
    fn who_asks_without_end_has_the_file_written_once_a_second_and_is_told_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let mut kept = Kept::open(directory.path());
        kept.told();
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let first = inode(&path);
        for _ in 0..100 {
            kept.written_at = Some(Instant::now());
            let time = Duration::from_millis(1);
            kept.counters().passed(time, "scx_a", "idle");
            assert_eq!(kept.told(), read(&path).unwrap());
            assert_eq!(inode(&path), first, "it was replaced");
        }
        kept.written_at = Instant::now().checked_sub(KEPT_EVERY);
        assert_eq!(kept.told().scheduler_seconds.len(), 1);
        assert_eq!(kept.told(), read(&path).unwrap());
        // What happened is in it at once.
        kept.counters().starts += 1;
        kept.keep();
        assert_eq!(read(&path).unwrap(), kept.now);
        let last = inode(&path);
        kept.keep();
        assert_eq!(inode(&path), last, "nothing was new");
    }

    #[test]
    fn counters_beside_another_daemon_are_in_no_file() {
        let mut kept = Kept::in_memory();
        kept.counters().starts = 3;
        assert_eq!(kept.told().starts, 3);
    }

    #[test]
    fn without_a_directory_it_is_counted_all_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut kept = Kept::open(file.path());
        kept.counters().starts = 3;
        assert_eq!(kept.told().starts, 3);
    }
}
