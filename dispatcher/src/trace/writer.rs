//! From entries to lines. Each is written at once, so that at any time only the last line of a trace may be incomplete.

use std::io::{self, Write};

use auto_ext_signals::{Process, ProcessEvent};
use serde::Serialize;

use super::format::{Entry, Header};

/// How many bytes of processes are put into one line; more go into lines of their own before it.
const MAX_PROCESSES_TEXT: usize = 1 << 20;

/// Writes a trace.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Begins a trace.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn new(output: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { output };
        writer.line(header)?;
        Ok(writer)
    }

    /// What was written to.
    #[cfg(test)]
    pub(super) fn into_output(self) -> W {
        self.output
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Those of `output`; a part of the line may have been written.
    pub fn write(&mut self, mut entry: Entry) -> io::Result<()> {
        let mut parts = in_parts(entry.processes);
        entry.processes = parts.pop().unwrap_or_default();
        for processes in parts {
            self.line(&Entry {
                at_us: entry.at_us,
                processes,
                ..Entry::default()
            })?;
        }
        self.line(&entry)
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.output.write_all(&line)?;
        self.output.flush()
    }
}

/// The same events in parts that fit into lines.
fn in_parts(events: Vec<ProcessEvent>) -> Vec<Vec<ProcessEvent>> {
    let mut parts = vec![Vec::new()];
    let mut room = MAX_PROCESSES_TEXT;
    for event in events.into_iter().flat_map(in_pieces) {
        let size = match &event {
            ProcessEvent::Started(process) => size(process),
            ProcessEvent::All(all) => all.iter().map(size).sum(),
            ProcessEvent::Ended { .. } => 0,
        } + 40;
        if size > room && room < MAX_PROCESSES_TEXT {
            parts.push(Vec::new());
            room = MAX_PROCESSES_TEXT;
        }
        room = room.saturating_sub(size);
        if let Some(part) = parts.last_mut() {
            part.push(event);
        }
    }
    parts
}

/// The event itself. A list of all processes that fits into no line is divided: a part of it, and the others as if they
/// began then.
fn in_pieces(event: ProcessEvent) -> Vec<ProcessEvent> {
    let ProcessEvent::All(mut all) = event else {
        return vec![event];
    };
    let mut room = MAX_PROCESSES_TEXT;
    let fitting = all.iter().take_while(|process| {
        let size = size(process);
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    let first = fitting.count();
    let others = all.split_off(first);
    let mut pieces = vec![ProcessEvent::All(all)];
    pieces.extend(others.into_iter().map(ProcessEvent::Started));
    pieces
}

/// At least as many bytes as `process` takes in JSON, where a character of its texts becomes two at
/// the most: none are control characters.
fn size(process: &Process) -> usize {
    let Process {
        pid: _,
        comm,
        executable,
        argv0,
        cgroup,
        ancestors,
    } = process;
    let ancestors = ancestors.iter().map(|ancestor| size(ancestor));
    let texts = comm.len() + executable.len() + argv0.len() + cgroup.len();
    120 + 2 * texts + ancestors.sum::<usize>()
}
