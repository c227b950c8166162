//! What came of trials and placements, for people, over restarts: a line of JSON each, in a file that stays small.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use auto_ext_service::atomic_file;
use auto_ext_service::clock::utc;
use serde::{Deserialize, Serialize};

use crate::core::Outcome;

/// What it is called in the directory of what is known.
const NAME: &str = "history.jsonl";
/// When it is this large its older half is dropped, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// One trial, or the end of a placement.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// When: CLOCK_REALTIME in microseconds.
    pub at_us: u64,
    /// Which jobs it was about.
    pub jobs: Vec<String>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The file.
#[derive(Clone, Debug)]
pub struct History(PathBuf);

impl History {
    /// The one in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self(directory.join(NAME))
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory)?;
        }
        let size = self.0.metadata().map_or(0, |file| file.len());
        if size >= MAX_SIZE {
            let entries = self.read()?;
            let kept = entries[entries.len() / 2..].iter().map(line);
            let kept: Vec<String> = kept.collect::<io::Result<_>>()?;
            atomic_file::replace(&self.0, kept.iter().map(String::as_str))?;
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o644).open(&self.0);
        file?.write_all(line(entry)?.as_bytes())
    }

    /// All entries, the oldest first. A line that a power loss cut off is left out.
    ///
    /// # Errors
    /// When the file cannot be read. One that is missing has none.
    pub fn read(&self) -> io::Result<Vec<Entry>> {
        let bytes = atomic_file::read(&self.0, 2 * MAX_SIZE)?;
        let text = String::from_utf8_lossy(&bytes);
        let entries = text.lines().map(serde_json::from_str);
        Ok(entries.filter_map(Result::ok).collect())
    }
}

fn line(entry: &Entry) -> io::Result<String> {
    Ok(serde_json::to_string(entry)? + "\n")
}

impl Entry {
    /// The entry in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let what = match &self.outcome {
            Outcome::Adopted { gain, lower } => format!(
                "adopted: {:.1} % better than what was found, more than {:.1} % with a probability of 95 %",
                100.0 * gain,
                100.0 * lower
            ),
            Outcome::Fruitless { best: Some(best) } => format!(
                "nothing adopted: the best candidate gained {:.1} %",
                100.0 * best
            ),
            Outcome::Fruitless { best: None } => {
                "nothing adopted: too little was counted".to_owned()
            }
            Outcome::Aborted { why } => format!("trial given up: {why}"),
            Outcome::Restored { why } => format!("back to what was found: {why}"),
        };
        format!("{}  {what} ({})", utc(self.at_us), self.jobs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_us: u64) -> Entry {
        Entry {
            at_us,
            jobs: vec!["a.service".to_owned()],
            outcome: Outcome::Aborted {
                why: "paused".to_owned(),
            },
        }
    }

    #[test]
    fn what_is_added_is_read_again_and_a_line_that_was_cut_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::new(&directory.path().join("new"));
        assert_eq!(history.read().unwrap(), []);
        history.add(&entry(1)).unwrap();
        history.add(&entry(2)).unwrap();
        let path = directory.path().join("new").join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert_eq!(history.read().unwrap(), [entry(1)]);
        let sentence = entry(1).sentence();
        assert!(
            sentence.starts_with("1970-") && sentence.ends_with("paused (a.service)"),
            "{sentence}"
        );
    }

    #[test]
    fn a_large_file_loses_its_older_half() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::new(directory.path());
        let all: u64 = 20_000;
        let lines: String = (0..all).map(|at| line(&entry(at)).unwrap()).collect();
        fs::write(directory.path().join(NAME), lines).unwrap();
        history.add(&entry(all)).unwrap();
        let kept = history.read().unwrap();
        assert_eq!((kept.len(), kept[0].at_us), (10_001, 10_000));
        assert_eq!(kept.last().unwrap().at_us, all);
    }
}
