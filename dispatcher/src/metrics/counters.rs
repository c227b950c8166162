//! What only grows, over restarts of the daemon.
//!
//! It is kept in a file that ends with the boot. A counter may begin at zero, which readers notice, but must never go back
//! by a little, as they would take that for a restart and the whole value for an increase. So a value is given to readers
//! only when the file has it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use auto_ext_service::atomic_file;
use serde::{Deserialize, Serialize};

use crate::persistence::history::{Entry, Kind};

/// How many names of each kind have a counter of their own.
const MAX_NAMES: usize = 50;
/// What all further names count as.
const OTHER: &str = "other";
/// How long a name may be, in bytes.
const MAX_NAME: usize = 128;
/// How much of the file is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
const FILE: &str = "counters.json";
/// Counters that only time has changed are written at most this often, however often somebody asks.
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
    /// Pairs of trials, by the program of the candidate and how they ended.
    pub(crate) trial_pairs: BTreeMap<String, BTreeMap<String, u64>>,
    /// Seconds of trials in which each scheduler ran.
    pub(crate) trial_seconds: BTreeMap<String, f64>,
    /// Trials that were ended at once, by the guard.
    pub(crate) trial_guards: BTreeMap<String, u64>,
    /// Gaps of switches by [`GAPS`].
    pub(crate) gaps: [u64; GAPS.len() + 1],
    /// The sum of all gaps, in seconds.
    pub(crate) gap_seconds: f64,
}

impl Counters {
    /// Counts an event of the history.
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
            // Its pairs are counted when they end.
            Kind::Stopped | Kind::Trial => {}
        }
    }

    /// Counts time in which a scheduler ran and the load was of a class.
    pub(crate) fn passed(&mut self, time: Duration, scheduler: &str, class: &str) {
        *slot(&mut self.scheduler_seconds, scheduler) += time.as_secs_f64();
        *slot(&mut self.class_seconds, class) += time.as_secs_f64();
    }

    /// Counts time of a trial in which a scheduler ran.
    pub(crate) fn tried(&mut self, time: Duration, scheduler: &str) {
        *slot(&mut self.trial_seconds, scheduler) += time.as_secs_f64();
    }

    /// Counts a pair of a trial.
    pub(crate) fn pair(&mut self, scheduler: &str, end: &str) {
        let ends = slot(&mut self.trial_pairs, scheduler);
        *slot(ends, end) += 1;
    }

    /// Counts a trial that this guard ended.
    pub(crate) fn guard(&mut self, guard: &str) {
        *slot(&mut self.trial_guards, guard) += 1;
    }

    /// Whether all times are possible ones.
    fn is_sound(&self) -> bool {
        let times = self.scheduler_seconds.values();
        let mut times = times
            .chain(self.class_seconds.values())
            .chain(self.trial_seconds.values())
            .chain([&self.gap_seconds]);
        times.all(|time| time.is_finite() && *time >= 0.0)
    }
}

/// The value of `name`, or that of all others where there are too many names.
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
pub(crate) struct CounterStore {
    now: Counters,
    /// What the file has.
    written: Counters,
    written_at: Option<Instant>,
    /// `None` where the file is another daemon's.
    path: Option<PathBuf>,
    trouble: bool,
}

impl CounterStore {
    /// Continues with the counters in `directory`, or begins at zero.
    pub(crate) fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let now = read(&path).unwrap_or_else(|error| {
            tracing::warn!("counters begin at zero: {}: {error}", path.display());
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

    /// Begins at zero, and writes no file.
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

    /// The counters as the file has them, which is up to a second old.
    pub(crate) fn snapshot(&mut self) -> Counters {
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

/// The counters in the file; zero where there is none.
fn read(path: &Path) -> io::Result<Counters> {
    let bytes = atomic_file::read(path, MAX_FILE)?;
    if bytes.is_empty() {
        return Ok(Counters::default());
    }
    let counters: Counters = serde_json::from_slice(&bytes)?;
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
    // The file is in memory, so this does not wait for a disk.
    let text = serde_json::to_string(counters)?;
    atomic_file::replace(path, [text.as_str()])
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
            trial: false,
        }
    }

    #[test]
    fn what_was_published_is_where_the_next_daemon_continues() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = CounterStore::open(directory.path());
        assert_eq!(*store.counters(), Counters::default());
        let counters = store.counters();
        counters.count(&entry(Kind::Switched, "kernel", "scx_a", Some(700)));
        counters.count(&entry(Kind::Switched, "kernel", "scx_a", Some(2_000_000)));
        counters.count(&entry(Kind::Failed, "kernel", "scx_b", None));
        counters.passed(Duration::from_millis(1500), "scx_a", "idle");
        let published = store.snapshot();
        drop(store);
        assert_eq!(*CounterStore::open(directory.path()).counters(), published);
        assert_eq!(published.switches["kernel"]["scx_a"], 2);
        assert_eq!(published.failures["scx_b"], 1);
        assert_eq!(published.scheduler_seconds["scx_a"], 1.5);
        assert_eq!((published.gaps[2], published.gaps[GAPS.len()]), (1, 1));
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
            let mut store = CounterStore::open(directory.path());
            assert_eq!(*store.counters(), Counters::default(), "{text}");
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
    fn who_asks_without_end_has_the_file_written_once_a_second_and_gets_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let mut store = CounterStore::open(directory.path());
        store.snapshot();
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let first = inode(&path);
        for _ in 0..100 {
            store.written_at = Some(Instant::now());
            let time = Duration::from_millis(1);
            store.counters().passed(time, "scx_a", "idle");
            assert_eq!(store.snapshot(), read(&path).unwrap());
            assert_eq!(inode(&path), first, "it was replaced");
        }
        store.written_at = Instant::now().checked_sub(KEPT_EVERY);
        assert_eq!(store.snapshot().scheduler_seconds.len(), 1);
        assert_eq!(store.snapshot(), read(&path).unwrap());
        // An event is in it at once.
        store.counters().starts += 1;
        store.keep();
        assert_eq!(read(&path).unwrap(), store.now);
        let last = inode(&path);
        store.keep();
        assert_eq!(inode(&path), last, "nothing was new");
    }

    #[test]
    fn counters_beside_another_daemon_are_in_no_file() {
        let mut store = CounterStore::in_memory();
        store.counters().starts = 3;
        assert_eq!(store.snapshot().starts, 3);
    }

    #[test]
    fn without_a_directory_it_is_counted_all_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut store = CounterStore::open(file.path());
        store.counters().starts = 3;
        assert_eq!(store.snapshot().starts, 3);
    }
}
