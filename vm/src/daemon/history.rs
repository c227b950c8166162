//! What was done and why, over restarts: kept in memory and, as one JSON object a line, in a file that is replaced as a whole when it is twice as
//! long as what is kept. When the disk takes nothing, only the file is lost.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use auto_ext_service::atomic_file;
use auto_ext_service::clock::now_us;
use serde::{Deserialize, Serialize};

/// How many entries are kept.
const KEPT: usize = 1000;
/// How much of the file is read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// How long a text may be, in bytes.
const MAX_TEXT: usize = 1000;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When: CLOCK_REALTIME in microseconds.
    pub at: u64,
    /// What, in words.
    pub text: String,
}

/// The last events.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    entries: VecDeque<Entry>,
    /// How many lines the file has.
    lines: usize,
}

impl History {
    /// That in this directory. What was cut off by a power loss is left out.
    pub(super) fn read(directory: &Path) -> Self {
        let path = directory.join("history.jsonl");
        let bytes = atomic_file::read(&path, MAX_FILE).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().count();
        let all = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let mut entries: VecDeque<Entry> = all.collect();
        entries.drain(..entries.len().saturating_sub(KEPT));
        Self {
            path,
            entries,
            lines,
        }
    }

    /// Adds an event of now.
    pub(super) fn add(&mut self, text: &str) {
        let mut end = text.len().min(MAX_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.entries.push_back(Entry {
            at: now_us(),
            text: text[..end].to_owned(),
        });
        if self.entries.len() > KEPT {
            self.entries.pop_front();
        }
        if let Err(error) = self.write() {
            tracing::debug!("{}: {error}", self.path.display());
        }
    }

    /// The last so many, as lines of JSON.
    pub(super) fn last(&self, count: usize) -> Vec<&Entry> {
        let skipped = self.entries.len().saturating_sub(count);
        self.entries.iter().skip(skipped).collect()
    }

    fn write(&mut self) -> io::Result<()> {
        let line = |entry: &Entry| Ok::<_, io::Error>(serde_json::to_string(entry)? + "\n");
        if self.lines >= 2 * KEPT {
            let all: io::Result<Vec<String>> = self.entries.iter().map(line).collect();
            atomic_file::replace(&self.path, all?.iter().map(String::as_str))?;
            self.lines = self.entries.len();
            return Ok(());
        }
        let Some(entry) = self.entries.back() else {
            return Ok(());
        };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        file.write_all(line(entry)?.as_bytes())?;
        self.lines += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_history_is_bounded_and_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::read(directory.path());
        for number in 0..2 * KEPT + 10 {
            history.add(&format!("{number}"));
        }
        history.add(&"é".repeat(MAX_TEXT));
        let path = directory.path().join("history.jsonl");
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!((KEPT..KEPT + 20).contains(&lines), "{lines}");
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"at\":1,").unwrap();
        let again = History::read(directory.path());
        assert_eq!(again.entries, history.entries);
        let last = again.last(2);
        assert_eq!(
            (last[0].text.as_str(), last[1].text.len()),
            ("2009", MAX_TEXT)
        );
        assert_eq!(again.last(5000).len(), KEPT);
    }
}
