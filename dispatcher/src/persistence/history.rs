//! The history: switches, failures and refusals, over restarts of the daemon.
//!
//! It is kept in memory and, as one JSON object per line, in a file that grows until it is twice as long as what is kept
//! and is then replaced as a whole. A line that a power loss cut off is skipped when the file is read again. When the disk
//! takes nothing, only the file is lost.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use auto_ext_service::atomic_file;
use serde::{Deserialize, Serialize};

/// How many entries are kept.
const KEPT: usize = 1000;
/// How much of a file is read, in bytes; entries are much shorter than a thousandth of it.
const MAX_FILE: u64 = 8 << 20;
/// How long a text of an entry may be, in bytes.
const MAX_TEXT: usize = 1000;
const FILE: &str = "history.jsonl";

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The daemon began to run.
    Started,
    /// The daemon ended, and leaves the machine to `to`.
    Stopped,
    /// auto-ext made the kernel run another scheduler.
    Switched,
    /// A switch failed; `to` is what was to run.
    Failed,
    /// A scheduler of auto-ext ended by itself.
    Exited,
    /// Somebody else made the kernel run another scheduler.
    Foreign,
    /// A caller's request was refused.
    Refused,
    /// A trial ended; `to` is what was tried.
    Trial,
}

/// How a switch was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// The new scheduler was loaded before the old one left.
    Hot,
    /// The old one left first; `error` says why it had to.
    Cold,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When: CLOCK_REALTIME in microseconds.
    pub(crate) at: u64,
    /// What it is about.
    pub(crate) event: Kind,
    /// What the kernel ran before, as in D-Bus' `CurrentScheduler`.
    pub(crate) from: String,
    /// What it ran then, or was to run.
    pub(crate) to: String,
    /// The class of the load.
    pub(crate) class: String,
    /// Why, in words.
    pub(crate) reason: String,
    /// What went wrong; empty when nothing did.
    #[serde(default)]
    pub(crate) error: String,
    /// How the switch was made, for one to a scheduler.
    #[serde(default)]
    pub(crate) way: Option<Way>,
    /// Microseconds in which the kernel had no scheduler enabled, for a switch.
    #[serde(default)]
    pub(crate) gap_us: Option<u64>,
    /// The switch was for a turn of a trial.
    #[serde(default)]
    pub(crate) trial: bool,
}

impl Entry {
    /// The entry in words.
    pub(crate) fn sentence(&self) -> String {
        let Entry {
            from,
            to,
            class,
            reason,
            error,
            ..
        } = self;
        match self.event {
            Kind::Started => format!("the daemon started beside {to}: {reason}"),
            Kind::Stopped => format!("the daemon stopped, {to} takes over"),
            Kind::Switched => {
                let how = match (self.way, self.gap_us) {
                    (Some(Way::Hot), Some(gap)) => {
                        format!(" (hot, {} without a scheduler)", ms(gap))
                    }
                    (Some(Way::Cold), Some(gap)) => {
                        format!(" (cold because {error}, {} without a scheduler)", ms(gap))
                    }
                    _ => String::new(),
                };
                format!("{from} -> {to}{how}: {reason}")
            }
            Kind::Failed => format!("{from} -> {to} failed: {error}; wanted because: {reason}"),
            Kind::Exited => format!("{from} ended by itself: {error}"),
            Kind::Foreign => format!("{from} -> {to}, {reason}"),
            Kind::Refused => format!("refused {reason}: {error}"),
            Kind::Trial => format!("trial of {to} against {from}, class {class}: {reason}"),
        }
    }
}

fn ms(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1000.0)
}

/// The last entries, and the file that has them.
#[derive(Debug)]
pub(crate) struct History {
    entries: VecDeque<Arc<Entry>>,
    writer: Option<Writer>,
}

/// A thread that writes, as a disk may be slow.
#[derive(Debug)]
struct Writer {
    lines: mpsc::Sender<String>,
    thread: JoinHandle<()>,
}

impl History {
    /// The history in `directory`. What cannot be read is left out, and logged.
    pub(crate) fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let entries = read_or_warn(&path);
        let kept: VecDeque<String> = entries.iter().filter_map(|entry| line(entry)).collect();
        let writer = Writer::start(path, kept)
            .inspect_err(|error| tracing::warn!("the history is not written: {error}"))
            .ok();
        Self { entries, writer }
    }

    /// The same, with a file that is another daemon's to write.
    pub(crate) fn of_another(directory: &Path) -> Self {
        Self {
            entries: read_or_warn(&directory.join(FILE)),
            writer: None,
        }
    }

    /// Adds an entry.
    pub(crate) fn add(&mut self, mut entry: Entry) {
        for text in [&mut entry.reason, &mut entry.error, &mut entry.class] {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        if let Some(writer) = &self.writer
            && let Some(line) = line(&entry)
        {
            // The thread ends only with the sender.
            let _ = writer.lines.send(line);
        }
        self.entries.push_back(Arc::new(entry));
        if self.entries.len() > KEPT {
            self.entries.pop_front();
        }
    }

    /// The last `count` entries, the newest first.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().rev().take(count)
    }

    /// Waits until all is written.
    pub(crate) fn close(mut self) {
        if let Some(Writer { lines, thread }) = self.writer.take() {
            drop(lines);
            thread.join().expect("it does not panic");
        }
    }
}

impl Writer {
    fn start(path: PathBuf, kept: VecDeque<String>) -> io::Result<Self> {
        let (lines, queue) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || write(&path, kept, &queue))?;
        Ok(Self { lines, thread })
    }
}

fn line(entry: &Entry) -> Option<String> {
    // Numbers and texts always have a form in JSON.
    let mut line = serde_json::to_string(entry).ok()?;
    line.push('\n');
    Some(line)
}

fn read_or_warn(path: &Path) -> VecDeque<Arc<Entry>> {
    read(path).unwrap_or_else(|error| {
        tracing::warn!("the history cannot be read: {}: {error}", path.display());
        VecDeque::new()
    })
}

fn read(path: &Path) -> io::Result<VecDeque<Arc<Entry>>> {
    let bytes = atomic_file::read(path, MAX_FILE)?;
    let mut entries: VecDeque<Arc<Entry>> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).map(Arc::new).ok())
        .collect();
    entries.drain(..entries.len().saturating_sub(KEPT));
    Ok(entries)
}

/// Writes what is sent until nothing can be sent any more. `kept` is what a new file begins with.
fn write(path: &Path, mut kept: VecDeque<String>, queue: &mpsc::Receiver<String>) {
    let mut trouble = false;
    // The first write makes a new file, without what could not be read of the old one.
    let mut in_file = usize::MAX;
    while let Ok(line) = queue.recv() {
        kept.push_back(line.clone());
        if kept.len() > KEPT {
            kept.pop_front();
        }
        let written = if in_file >= 2 * KEPT {
            atomic_file::replace(path, kept.iter().map(String::as_str)).map(|()| kept.len())
        } else {
            append(path, &line).map(|()| in_file + 1)
        };
        match written {
            Ok(lines) => (in_file, trouble) = (lines, false),
            Err(error) => {
                if !std::mem::replace(&mut trouble, true) {
                    tracing::warn!("the history is not written: {}: {error}", path.display());
                }
                // What is missing comes with a new file.
                in_file = usize::MAX;
            }
        }
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(number: u64) -> Entry {
        Entry {
            at: number,
            event: Kind::Switched,
            from: "kernel".into(),
            to: "scx_bpfland".into(),
            class: "interactive".into(),
            reason: "class interactive".into(),
            error: String::new(),
            way: Some(Way::Hot),
            gap_us: Some(number),
            trial: false,
        }
    }

    fn numbers(history: &History) -> Vec<u64> {
        history.last(usize::MAX).map(|entry| entry.at).collect()
    }

    fn with(directory: &Path, numbers: std::ops::Range<u64>) {
        let mut history = History::open(directory);
        numbers.for_each(|number| history.add(entry(number)));
        history.close();
    }

    #[test]
    fn events_are_still_known_after_a_restart_the_newest_first() {
        let directory = tempfile::tempdir().unwrap();
        with(directory.path(), 0..2);
        with(directory.path(), 2..3);
        let history = History::open(directory.path());
        assert_eq!(numbers(&history), [2, 1, 0]);
        assert_eq!(history.last(1).next(), Some(&Arc::new(entry(2))));
    }

    #[test]
    fn memory_and_file_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        with(directory.path(), 0..5000);
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert!(text.lines().count() <= 2 * KEPT);
        let history = History::open(directory.path());
        assert_eq!(numbers(&history), (4000..5000).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_line_that_was_cut_off_is_skipped_and_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().unwrap();
        with(directory.path(), 0..3);
        let path = directory.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 20]).unwrap();
        with(directory.path(), 3..5);
        assert_eq!(numbers(&History::open(directory.path())), [4, 3, 1, 0]);
    }

    #[test]
    fn a_directory_that_takes_nothing_costs_only_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("missing");
        let mut history = History::open(&nowhere);
        history.add(entry(1));
        assert_eq!(numbers(&history), [1]);
        history.close();
        fs::write(directory.path().join(FILE), [0xff, 0, b'\n', b'{']).unwrap();
        assert_eq!(numbers(&History::open(directory.path())), [0; 0]);
    }

    #[test]
    fn the_file_of_another_daemon_is_read_and_not_written() {
        let directory = tempfile::tempdir().unwrap();
        with(directory.path(), 0..2);
        let path = directory.path().join(FILE);
        let before = fs::read_to_string(&path).unwrap();
        let mut history = History::of_another(directory.path());
        history.add(entry(2));
        assert_eq!(numbers(&history), [2, 1, 0]);
        history.close();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn long_texts_are_cut() {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::open(directory.path());
        history.add(Entry {
            error: "ü".repeat(MAX_TEXT),
            ..entry(1)
        });
        let kept = history.last(1).next().unwrap().error.len();
        assert!(kept <= MAX_TEXT);
    }
}
