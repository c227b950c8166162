//! From lines to entries. A trace may come from anybody: everything has a limit, and what is wrong is reported with its
//! line.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auto_ext_signals::{
    MAX_ANCESTORS, MAX_PROCESSES, Machine, Process, ProcessEvent, Sample, Signal, Signals,
};
use serde::Deserialize;

use super::format::{Entry, Header, MAX_LINE, MAX_TEXT, OLDEST_VERSION, Told, VERSION};
use super::input::Input;

/// The kernel's greatest number of tasks (PID_MAX_LIMIT), which may all wait for one CPU.
const MOST_TASKS: f64 = 4_194_304.0;
/// The latest moment that anything is told of, in microseconds since 1970: the year 2500.
const LATEST_US: u64 = 16_725_225_600_000_000;
/// More kinds of waits are never counted, and more is never in the way of a trial.
const MAX_BUCKETS: usize = 4096;
const MAX_UNQUIET: usize = 4096;
/// How long the message about a line is at most, in characters.
const MAX_MESSAGE: usize = 200;

/// What is wrong with a trace. Displays as `FILE:LINE: error: MESSAGE`.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: error: {problem}", path.display())]
pub struct TraceError {
    /// The trace as it was named by the caller.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The operating system reports an error.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is longer than [`MAX_LINE`].
    #[error("the line is longer than {MAX_LINE} bytes, which none of a trace is")]
    TooLong,
    /// There is no line.
    #[error("the file is empty")]
    Empty,
    /// The first line is no header.
    #[error("this is no trace: its first line is not a JSON object with a number `trace`")]
    NotATrace,
    /// The header says that the rest is in another format.
    #[error(
        "the trace has version {0} of the format; this auto-ext reads versions {OLDEST_VERSION} to {VERSION}"
    )]
    Version(u64),
    /// It is no JSON, or not that of an entry.
    #[error("column {column}: {message}")]
    Json {
        /// Where, in bytes from 1.
        column: usize,
        /// What.
        message: String,
    },
    /// Time runs backwards.
    #[error("`at_us` is {at}, but was {before} in a line before: time runs backwards")]
    Backwards {
        /// The line's time.
        at: u64,
        /// That of a line before.
        before: u64,
    },
    /// A window has a length and signals.
    #[error("`dt_us` and `signals` belong together, and one of them is missing")]
    HalfAWindow,
    /// The window has no length, or began before the window before it ended.
    #[error("`dt_us` is {dt}: not between 1 and {most}, the time since the window before")]
    Length {
        /// The window's length.
        dt: u64,
        /// The greatest possible one.
        most: u64,
    },
    /// A signal has a value that it cannot have.
    #[error("`{signal}` is {value}: not between 0 and {most}")]
    Value {
        /// Which.
        signal: Signal,
        /// Its value.
        value: f64,
        /// The greatest possible one.
        most: f64,
    },
    /// More processes are running than are ever recorded.
    #[error("more than {MAX_PROCESSES} processes run at the same time")]
    TooManyProcesses,
    /// A text about a process is longer than [`MAX_TEXT`].
    #[error("process {0} has a text longer than {MAX_TEXT} bytes")]
    LongText(u32),
    /// What trials were told has a number or a text that none can have, or is far too much.
    #[error("`trials` makes no sense: {0}")]
    Told(&'static str),
    /// More ancestors of a process than [`MAX_ANCESTORS`].
    #[error("process {0} has more than {MAX_ANCESTORS} ancestors")]
    Ancestors(u32),
}

/// Reads a trace: gives its entries until the end, or until the first error.
#[derive(Debug)]
pub struct Reader<R> {
    path: PathBuf,
    input: R,
    header: Header,
    machine: Machine,
    totals: Option<Sample>,
    buffer: Vec<u8>,
    line: u64,
    at_us: u64,
    window_at_us: u64,
    processes: HashSet<u32>,
    cut_off: bool,
    failed: bool,
}

/// What a header of any version has.
#[derive(Deserialize)]
struct AnyHeader {
    trace: u64,
}

impl Reader<BufReader<Input>> {
    /// Opens the trace at `path`, which may be packed by gzip.
    ///
    /// # Errors
    /// When it cannot be opened or does not begin as a trace.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        match Input::open(path) {
            Ok(input) => Self::new(path, BufReader::new(input)),
            Err(error) => Err(TraceError {
                path: path.to_owned(),
                line: 1,
                problem: error.into(),
            }),
        }
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the header of a trace from `input`; `path` only names it in errors.
    ///
    /// # Errors
    /// When it does not begin as a trace.
    pub fn new(path: impl AsRef<Path>, mut input: R) -> Result<Self, TraceError> {
        let path = path.as_ref().to_owned();
        let mut buffer = Vec::new();
        match read_header(&mut input, &mut buffer) {
            Ok(header) => Ok(Self {
                path,
                input,
                machine: header.machine,
                totals: None,
                header,
                buffer,
                line: 1,
                at_us: 0,
                window_at_us: 0,
                processes: HashSet::new(),
                cut_off: false,
                failed: false,
            }),
            Err(problem) => Err(TraceError {
                path,
                line: 1,
                problem,
            }),
        }
    }

    /// The first line.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the line that was left out because it breaks off in the middle, at the end of
    /// the file; known when there are no more entries.
    #[must_use]
    pub fn cut_off(&self) -> Option<u64> {
        self.cut_off.then_some(self.line)
    }

    fn entry(&mut self) -> Result<Option<Entry>, Problem> {
        loop {
            self.line += 1;
            if !read_line(&mut self.input, &mut self.buffer)? {
                return Ok(None);
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let mut entry: Entry = match serde_json::from_slice(&self.buffer) {
            Ok(entry) => entry,
            Err(error) if error.is_eof() && self.buffer.last() != Some(&b'\n') => {
                self.cut_off = true;
                return Ok(None);
            }
            Err(error) => return Err(json(&error)),
        };
        self.check_time(&entry)?;
        self.measure_again(&mut entry);
        if let Some(signals) = &entry.signals {
            check_values(signals)?;
        }
        check_told(&entry)?;
        for event in &mut entry.processes {
            self.check_processes(event)?;
        }
        Ok(Some(entry))
    }

    /// Makes the signals of the window's counters, as far as these are there. A window whose counters cannot be is none.
    fn measure_again(&mut self, entry: &mut Entry) {
        if let Some(machine) = entry.machine {
            self.machine = machine;
        }
        let Some(after) = entry.totals else {
            return;
        };
        // After a sleep, or a window that was left out, the totals before are not those with which this window began.
        if let Some(before) = self.totals.replace(after)
            && entry.signals.is_some()
            && after
                .at_ns
                .checked_sub(before.at_ns)
                .zip(entry.dt_us)
                .is_some_and(|(ns, us)| (ns / 1000).abs_diff(us) <= 1)
        {
            entry.signals = Signals::between(&before, &after, &self.machine);
            entry.dt_us = entry.dt_us.filter(|_| entry.signals.is_some());
        }
    }

    fn check_time(&mut self, entry: &Entry) -> Result<(), Problem> {
        let (at, before) = (entry.at_us, self.at_us);
        if at < before {
            return Err(Problem::Backwards { at, before });
        }
        self.at_us = at;
        match (entry.dt_us, &entry.signals) {
            (None, None) => {}
            (Some(dt), Some(_)) => {
                let most = at - self.window_at_us;
                if !(1..=most).contains(&dt) {
                    return Err(Problem::Length { dt, most });
                }
                self.window_at_us = at;
            }
            _ => return Err(Problem::HalfAWindow),
        }
        Ok(())
    }

    /// Follows how many processes run, and makes their texts fit for a terminal.
    fn check_processes(&mut self, event: &mut ProcessEvent) -> Result<(), Problem> {
        match event {
            ProcessEvent::Started(process) => {
                clean(process)?;
                self.processes.insert(process.pid);
            }
            ProcessEvent::Ended { pid } => drop(self.processes.remove(pid)),
            ProcessEvent::All(all) => {
                all.iter_mut().try_for_each(clean)?;
                self.processes = all.iter().map(|process| process.pid).collect();
            }
        }
        if self.processes.len() > MAX_PROCESSES {
            return Err(Problem::TooManyProcesses);
        }
        Ok(())
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Entry, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.cut_off {
            return None;
        }
        let entry = self.entry().map_err(|problem| {
            self.failed = true;
            TraceError {
                path: self.path.clone(),
                line: self.line,
                problem,
            }
        });
        entry.transpose()
    }
}

/// Reads one line, its end included, into `buffer`; `false` when there is none.
fn read_line(input: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<bool, Problem> {
    buffer.clear();
    let most = MAX_LINE + 1;
    let length = input.take(most as u64).read_until(b'\n', buffer)?;
    if length == most && buffer.last() != Some(&b'\n') {
        return Err(Problem::TooLong);
    }
    Ok(length > 0)
}

fn read_header(input: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<Header, Problem> {
    if !read_line(input, buffer)? {
        return Err(Problem::Empty);
    }
    let AnyHeader { trace } = serde_json::from_slice(buffer).map_err(|_| Problem::NotATrace)?;
    if !(OLDEST_VERSION..=VERSION).contains(&trace) {
        return Err(Problem::Version(trace));
    }
    let mut header: Header = serde_json::from_slice(buffer).map_err(|error| json(&error))?;
    let texts = [&mut header.version, &mut header.kernel];
    texts
        .into_iter()
        .chain(&mut header.label)
        .for_each(make_printable);
    Ok(header)
}

fn check_values(signals: &Signals) -> Result<(), Problem> {
    for (signal, value) in signals.iter() {
        let most = if signal.is_share() { 1.0 } else { MOST_TASKS };
        if let Some(value) = value
            && !(0.0..=most).contains(&value)
        {
            return Err(Problem::Value {
                signal,
                value,
                most,
            });
        }
    }
    Ok(())
}

/// What trials are told is bounded, and moments are such that one can reckon with them.
fn check_told(entry: &Entry) -> Result<(), Problem> {
    let is_text = |text: &str| text.len() <= MAX_TEXT && !text.contains(char::is_control);
    let switched = entry.switched.as_deref();
    let wrong = match &entry.trials {
        _ if !switched.is_none_or(is_text) => "a scheduler's name is no text",
        Some(Told::Learned { since_1970_us, .. }) if *since_1970_us > LATEST_US => {
            "it is of a year that is far off"
        }
        Some(Told::Outcome(reading)) => {
            let canary = reading.canary.as_ref();
            let totals = canary.into_iter().chain([&reading.waits]);
            let buckets = totals.map(|totals| totals.waits.len()).max();
            if buckets.is_some_and(|buckets| buckets > MAX_BUCKETS) {
                "there are more waits than are ever counted"
            } else {
                return Ok(());
            }
        }
        Some(Told::Consent(Some(consent)))
            if consent.until.max(consent.lifted_until) > Duration::from_micros(LATEST_US) =>
        {
            "a consent lasts for too long"
        }
        Some(Told::Quiet(unquiet)) if unquiet.len() > MAX_UNQUIET => {
            "more is in the way than ever is"
        }
        Some(Told::Forgotten(Some(class))) if !is_text(class) => "a class is no text",
        Some(Told::Here(here)) if !here.builds.iter().all(|(a, b)| is_text(a) && is_text(b)) => {
            "a build is no text"
        }
        _ => return Ok(()),
    };
    Err(Problem::Told(wrong))
}

fn clean(process: &mut Process) -> Result<(), Problem> {
    let Process {
        pid,
        comm,
        executable,
        argv0,
        cgroup,
        ancestors,
    } = process;
    if ancestors.len() > MAX_ANCESTORS {
        return Err(Problem::Ancestors(*pid));
    }
    for ancestor in ancestors {
        let ancestor = Arc::make_mut(ancestor);
        // They are all in the list of the process itself.
        ancestor.ancestors.clear();
        clean(ancestor)?;
    }
    for text in [comm, executable, argv0, cgroup] {
        if text.len() > MAX_TEXT {
            return Err(Problem::LongText(*pid));
        }
        make_printable(text);
    }
    Ok(())
}

/// Leaves out control characters, as the recorder does.
fn make_printable(text: &mut String) {
    if text.contains(char::is_control) {
        text.retain(|character| !character.is_control());
    }
}

fn json(error: &serde_json::Error) -> Problem {
    let column = error.column();
    let message = error.to_string();
    let place = format!(" at line {} column {column}", error.line());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    Problem::Json {
        column,
        // It may quote the line.
        message: message
            .chars()
            .filter(|character| !character.is_control())
            .take(MAX_MESSAGE)
            .collect(),
    }
}
