//! Readings that were written down: a line of JSON each, such as
//! `{"group":"nginx.service","cycles":9,"instructions":8,"enabled":7,"running":7}`, in the order in which they were made.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::reading::{Counters, NotCounted, Reading};

/// How large a text may be, in bytes.
pub const MAX_TEXT: usize = 16 << 20;

/// The readings of each group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording(BTreeMap<String, VecDeque<Reading>>);

/// The readings of one group, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay(VecDeque<Reading>);

/// Why a text is no recording.
#[derive(Debug, thiserror::Error)]
pub enum NoRecording {
    /// It is larger than it may be.
    #[error("larger than {MAX_TEXT} bytes")]
    TooLarge,
    /// A line says something else.
    #[error("line {line}: {error}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    group: String,
    cycles: u64,
    instructions: u64,
    enabled: u64,
    running: u64,
}

impl Recording {
    /// Reads what was written down.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self, NoRecording> {
        if text.len() > MAX_TEXT {
            return Err(NoRecording::TooLarge);
        }
        let mut groups: BTreeMap<String, VecDeque<Reading>> = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let read = serde_json::from_str(text);
            let read: Line = read.map_err(|error| NoRecording::Line { line, error })?;
            groups.entry(read.group).or_default().push_back(Reading {
                cycles: read.cycles,
                instructions: read.instructions,
                enabled: read.enabled,
                running: read.running,
            });
        }
        Ok(Self(groups))
    }

    /// The readings of a group; none where it was not counted.
    #[must_use]
    pub fn of(&self, group: &str) -> Replay {
        Replay(self.0.get(group).cloned().unwrap_or_default())
    }
}

impl Counters for Replay {
    fn open(&mut self, _tid: u32) -> Result<(), NotCounted> {
        Ok(())
    }

    fn read(&mut self) -> Result<Reading, NotCounted> {
        self.0.pop_front().ok_or(NotCounted::Ended)
    }
}
