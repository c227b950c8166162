//! The failures of schedulers over restarts of the daemon, in a file.
//!
//! They are those of one build of a program with one kernel: an upgrade of either lifts them. Which
//! build a program is, is told by the size of its file and the time of its last change. Who is left
//! alone for how long is decided in `core`.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::microseconds;
use crate::core::{Cause, End, Failure, Moment};
use crate::policy::Scheduler;
use crate::{program, state_file};

const FILE: &str = "reputation.json";
/// Five hundred failures are half of that.
const MAX_FILE: u64 = 4 << 20;
/// How long a failure's text may be, in bytes.
const MAX_TEXT: usize = 1000;
/// No failure has a scheduler left alone for longer, whatever the file and the clock say.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// One build of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Build {
    size: u64,
    /// CLOCK_REALTIME in nanoseconds.
    changed: i128,
}

/// The failures of one scheduler, as the file has them. Times are CLOCK_REALTIME in microseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    command: String,
    args: Vec<String>,
    build: Build,
    kernel: String,
    count: u32,
    cause: Cause,
    error: String,
    back_off_us: u64,
    until: u64,
}

/// The file, and the thread that writes it.
#[derive(Debug)]
pub(crate) struct Reputation {
    /// The release of the kernel.
    kernel: String,
    /// The programs of those that failed, as last seen.
    builds: BTreeMap<String, Build>,
    /// What was last written.
    kept: Vec<Failure>,
    writer: Option<(mpsc::Sender<String>, JoinHandle<()>)>,
}

impl Reputation {
    /// The file in `directory`, for the kernel of this release, and the failures that it has. `now_us`
    /// is the moment 0.
    pub(crate) fn open(directory: &Path, kernel: String, now_us: u64) -> (Self, Vec<Failure>) {
        let path = directory.join(FILE);
        let records = read(&path).unwrap_or_else(|error| {
            tracing::warn!(
                "what failed before is not known: {}: {error}",
                path.display()
            );
            Vec::new()
        });
        let mut builds = BTreeMap::new();
        let mut failures = Vec::new();
        for record in records {
            if record.kernel == kernel && build(&record.command) == Some(record.build) {
                builds.insert(record.command.clone(), record.build);
                failures.push(record.failure(now_us));
            }
        }
        let (contents, queue) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("reputation".to_owned())
            .spawn(move || write(&path, &queue))
            .inspect_err(|error| tracing::warn!("failures will be forgotten: {error}"))
            .ok()
            .map(|thread| (contents, thread));
        let reputation = Self {
            kernel,
            builds,
            kept: failures.clone(),
            writer,
        };
        (reputation, failures)
    }

    /// Keeps these failures, as of `now`, which on the wall clock is `now_us`.
    pub(crate) fn keep<'f>(
        &mut self,
        failures: impl Iterator<Item = &'f Failure> + Clone,
        now: Moment,
        now_us: u64,
    ) {
        if failures.clone().eq(&self.kept) {
            return;
        }
        self.kept = failures.cloned().collect();
        let mut builds = BTreeMap::new();
        let mut records = Vec::new();
        for failure in &self.kept {
            let command = &failure.scheduler.command;
            // One whose program is gone is nobody's any more.
            let known = self.builds.get(command).copied();
            if let Some(build) = known.or_else(|| build(command)) {
                builds.insert(command.clone(), build);
                records.push(Record::of(failure, build, &self.kernel, now, now_us));
            }
        }
        self.builds = builds;
        // Numbers and texts always have a form in JSON.
        if let (Some((writer, _)), Ok(text)) = (&self.writer, serde_json::to_string(&records)) {
            // The thread ends only with this.
            let _ = writer.send(text);
        }
    }

    /// The programs that failed and have been replaced by another build, or removed, since.
    pub(crate) fn replaced(&self) -> Vec<String> {
        self.builds
            .iter()
            .filter(|(command, seen)| build(command) != Some(**seen))
            .map(|(command, _)| command.clone())
            .collect()
    }

    /// Waits until all is written.
    pub(crate) fn close(mut self) {
        if let Some((contents, thread)) = self.writer.take() {
            drop(contents);
            // It does not panic, and if it did there would be nothing to be done.
            let _ = thread.join();
        }
    }
}

impl Record {
    fn of(failure: &Failure, build: Build, kernel: &str, now: Moment, now_us: u64) -> Self {
        let Scheduler {
            name,
            command,
            args,
        } = failure.scheduler.clone();
        let mut error = failure.end.text.clone();
        error.truncate(error.floor_char_boundary(MAX_TEXT));
        // What is over is over on every clock.
        let left = failure.until.saturating_sub(now);
        Self {
            name,
            command,
            args,
            build,
            kernel: kernel.to_owned(),
            count: failure.count,
            cause: failure.end.cause,
            error,
            back_off_us: microseconds(failure.back_off),
            until: now_us.saturating_add(microseconds(left)),
        }
    }

    fn failure(self, now_us: u64) -> Failure {
        let back_off = Duration::from_micros(self.back_off_us).min(LONGEST);
        // A clock that was set back does not make the time longer.
        let left = Duration::from_micros(self.until.saturating_sub(now_us)).min(back_off);
        Failure {
            scheduler: Scheduler {
                name: self.name,
                command: self.command,
                args: self.args,
            },
            count: self.count,
            end: End {
                cause: self.cause,
                text: self.error,
            },
            back_off,
            until: left,
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<Record>> {
    let bytes = state_file::read(path, MAX_FILE)?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// The build of the program that `command` names now.
fn build(command: &str) -> Option<Build> {
    let metadata = program::find(command).ok()?.metadata().ok()?;
    Some(Build {
        size: metadata.len(),
        changed: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
    })
}

fn write(path: &Path, queue: &mpsc::Receiver<String>) {
    let mut trouble = false;
    while let Ok(mut text) = queue.recv() {
        // Only the last counts.
        while let Ok(later) = queue.try_recv() {
            text = later;
        }
        match state_file::replace(path, [text.as_str()]) {
            Ok(()) => trouble = false,
            Err(error) => {
                if !std::mem::replace(&mut trouble, true) {
                    tracing::warn!("failures will be forgotten: {}: {error}", path.display());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Event, State, decide};
    use crate::policy::Policy;

    const HOUR: Duration = Duration::from_hours(1);
    /// A program that every machine has.
    const PROGRAM: &str = "/usr/bin/env";

    fn failure(until: Moment) -> Failure {
        Failure {
            scheduler: Scheduler {
                name: "env".into(),
                command: PROGRAM.into(),
                args: vec!["-x".into()],
            },
            count: 2,
            end: End {
                cause: Cause::Stalled,
                text: "runnable task stall".into(),
            },
            back_off: 2 * HOUR,
            until,
        }
    }

    /// Keeps one failure, an hour after the start of a daemon that was started at the time 0.
    fn kept(directory: &Path) {
        let (mut reputation, before) = Reputation::open(directory, "6.18".into(), 0);
        assert_eq!(before, []);
        let failures = [failure(3 * HOUR)];
        reputation.keep(failures.iter(), HOUR, microseconds(HOUR));
        reputation.close();
    }

    fn found(directory: &Path, kernel: &str, now: Duration) -> Vec<Failure> {
        let (reputation, failures) = Reputation::open(directory, kernel.into(), microseconds(now));
        reputation.close();
        failures
    }

    #[test]
    fn a_failure_outlives_the_daemon_and_counts_on() {
        let directory = tempfile::tempdir().unwrap();
        kept(directory.path());
        let (before, after) = (found(directory.path(), "6.18", 2 * HOUR), failure(HOUR));
        assert_eq!(before, [after]);
        // It is over by then, but still counts.
        assert_eq!(
            found(directory.path(), "6.18", 9 * HOUR),
            [failure(Duration::ZERO)]
        );
    }

    #[test]
    fn a_clock_that_jumps_makes_no_quarantine_longer() {
        let directory = tempfile::tempdir().unwrap();
        kept(directory.path());
        assert_eq!(
            found(directory.path(), "6.18", Duration::ZERO),
            [failure(2 * HOUR)]
        );
    }

    #[test]
    fn another_kernel_or_another_build_lifts_it() {
        let directory = tempfile::tempdir().unwrap();
        kept(directory.path());
        assert_eq!(found(directory.path(), "7.2", 2 * HOUR), []);
        let path = directory.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"size\":", "\"size\":1")).unwrap();
        assert_eq!(found(directory.path(), "6.18", 2 * HOUR), []);
    }

    #[test]
    fn a_file_of_before_that_has_one_scheduler_under_two_names_is_read() {
        let directory = tempfile::tempdir().unwrap();
        kept(directory.path());
        let path = directory.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let record = text.trim_matches(['[', ']']);
        let renamed = record.replace("\"name\":\"env\"", "\"name\":\"alias\"");
        assert_ne!(record, renamed);
        std::fs::write(&path, format!("[{record},{renamed}]")).unwrap();
        let mut state = State::new(&Policy::default(), false);
        let remembered = Event::Remembered(found(directory.path(), "6.18", 2 * HOUR));
        (state, _) = decide(&Policy::default(), &state, remembered, Moment::ZERO);
        let names: Vec<_> = state.failures().map(|failure| &failure.scheduler).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let quarantined = state.quarantined(&Policy::default(), Moment::ZERO);
        assert_eq!(quarantined, [("/usr/bin/env -x".to_owned(), HOUR)].into());
    }

    #[test]
    fn a_damaged_file_costs_only_what_it_had() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "[{\"name\":").unwrap();
        assert_eq!(found(directory.path(), "6.18", HOUR), []);
        kept(directory.path());
    }
}
