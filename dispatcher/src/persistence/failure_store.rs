//! The failures of schedulers over restarts of the daemon, in a file.
//!
//! Each is that of one build of a program with one kernel: when either is upgraded it does not count any more. Builds are
//! distinguished by the size of the program's file and the time of its last change. How long a scheduler is quarantined
//! is decided in `core`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use auto_ext_core::{Cause, End, Failure, Moment};
use auto_ext_policy::Scheduler;
use auto_ext_scx::process::executable;
use auto_ext_service::atomic_file;
use auto_ext_service::clock::microseconds;
use serde::{Deserialize, Serialize};

const FILE: &str = "failures.json";
/// The name that earlier versions gave the file. It is read where there is no [`FILE`], and removed when that is written.
const EARLIER_FILE: &str = "reputation.json";
/// Five hundred failures are half of that.
const MAX_FILE: u64 = 4 << 20;
/// How long a failure's text may be, in bytes.
const MAX_TEXT: usize = 1000;
/// No scheduler is quarantined for longer, whatever the file and the clock say.
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
pub(crate) struct FailureStore {
    /// The release of the kernel.
    kernel: String,
    /// The programs of those that failed, as last seen.
    builds: BTreeMap<String, Build>,
    /// The failures that were last passed to the writer.
    kept: Vec<Failure>,
    writer: Option<(mpsc::Sender<String>, JoinHandle<()>)>,
}

impl FailureStore {
    /// The file in `directory`, for the kernel of this release, and the failures that it has. Their times are relative
    /// to `now_us`, CLOCK_REALTIME in microseconds.
    pub(crate) fn open(directory: &Path, kernel: String, now_us: u64) -> (Self, Vec<Failure>) {
        let records = read(directory).unwrap_or_else(|error| {
            let directory = directory.display();
            tracing::warn!("what failed before is not known: {directory}: {error}");
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
            .name("failures".to_owned())
            .spawn({
                let directory = directory.to_owned();
                move || write(&directory, &queue)
            })
            .inspect_err(|error| tracing::warn!("failures will be forgotten: {error}"))
            .ok()
            .map(|thread| (contents, thread));
        let failure_store = Self {
            kernel,
            builds,
            kept: failures.clone(),
            writer,
        };
        (failure_store, failures)
    }

    /// Keeps these failures, as of `now`, which on CLOCK_REALTIME is `now_us`.
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
            // Of a program that is gone nothing is kept.
            let known = self.builds.get(command).copied();
            if let Some(build) = known.or_else(|| build(command)) {
                builds.insert(command.clone(), build);
                records.push(Record::of(failure, build, &self.kernel, now, now_us));
            }
        }
        self.builds = builds;
        // Numbers and texts always have a form in JSON.
        if let (Some((writer, _)), Ok(text)) = (&self.writer, serde_json::to_string(&records)) {
            // The thread ends only with the sender.
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
        // A quarantine that is over ends now, whatever is done to the clock later.
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

/// The records in the file, or in the one of an earlier version where there is none.
fn read(directory: &Path) -> io::Result<Vec<Record>> {
    for name in [FILE, EARLIER_FILE] {
        let bytes = atomic_file::read(&directory.join(name), MAX_FILE)?;
        if !bytes.is_empty() {
            return Ok(serde_json::from_slice(&bytes)?);
        }
    }
    Ok(Vec::new())
}

/// The build of the program that `command` names now.
fn build(command: &str) -> Option<Build> {
    let metadata = executable::find(command).ok()?.metadata().ok()?;
    Some(Build {
        size: metadata.len(),
        changed: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
    })
}

/// Writes what is sent until nothing can be sent any more.
fn write(directory: &Path, queue: &mpsc::Receiver<String>) {
    let path = directory.join(FILE);
    let mut trouble = false;
    while let Ok(mut text) = queue.recv() {
        // Only the last counts.
        while let Ok(later) = queue.try_recv() {
            text = later;
        }
        match atomic_file::replace(&path, [text.as_str()]) {
            Ok(()) => {
                trouble = false;
                // Mostly there is none. If it cannot be removed it is not read again either.
                let _ = fs::remove_file(directory.join(EARLIER_FILE));
            }
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
    use auto_ext_core::Event;
    use auto_ext_core::State;
    use auto_ext_core::decide;
    use auto_ext_policy::Policy;

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
        let (mut failure_store, before) = FailureStore::open(directory, "6.18".into(), 0);
        assert_eq!(before, []);
        let failures = [failure(3 * HOUR)];
        failure_store.keep(failures.iter(), HOUR, microseconds(HOUR));
        failure_store.close();
    }

    fn found(directory: &Path, kernel: &str, now: Duration) -> Vec<Failure> {
        let (failure_store, failures) =
            FailureStore::open(directory, kernel.into(), microseconds(now));
        failure_store.close();
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
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"size\":", "\"size\":1")).unwrap();
        assert_eq!(found(directory.path(), "6.18", 2 * HOUR), []);
    }

    #[test]
    fn a_file_of_before_that_has_one_scheduler_under_two_names_is_read() {
        let directory = tempfile::tempdir().unwrap();
        kept(directory.path());
        let path = directory.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        let record = text.trim_matches(['[', ']']);
        let renamed = record.replace("\"name\":\"env\"", "\"name\":\"alias\"");
        assert_ne!(record, renamed);
        fs::write(&path, format!("[{record},{renamed}]")).unwrap();
        let mut state = State::new(&Policy::default(), false);
        let remembered = Event::Remembered(found(directory.path(), "6.18", 2 * HOUR));
        (state, _) = decide(&Policy::default(), &state, remembered, Moment::ZERO);
        let names: Vec<_> = state.failures().map(|failure| &failure.scheduler).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let quarantined = state.quarantined(&Policy::default(), Moment::ZERO);
        assert_eq!(quarantined, [("/usr/bin/env -x".to_owned(), HOUR)].into());
    }

    #[test]
    fn the_file_of_an_earlier_version_is_read_and_replaced_at_the_next_write() {
        let directory = tempfile::tempdir().unwrap();
        kept(directory.path());
        let (path, earlier) = (
            directory.path().join(FILE),
            directory.path().join(EARLIER_FILE),
        );
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("\"cause\":\"stalled\"", "\"cause\":\"unseated\"");
        fs::remove_file(&path).unwrap();
        fs::write(&earlier, text).unwrap();
        let (mut failure_store, before) =
            FailureStore::open(directory.path(), "6.18".into(), microseconds(2 * HOUR));
        assert_eq!(before.len(), 1);
        assert_eq!(before[0].end.cause, Cause::Detached);
        assert!(
            earlier.exists() && !path.exists(),
            "only a write replaces it"
        );
        let failures = [failure(3 * HOUR)];
        failure_store.keep(failures.iter(), 2 * HOUR, microseconds(2 * HOUR));
        failure_store.close();
        assert!(path.exists() && !earlier.exists());
        assert_eq!(found(directory.path(), "6.18", 2 * HOUR), [failure(HOUR)]);
    }

    #[test]
    fn the_file_of_an_earlier_version_does_not_count_beside_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        kept(directory.path());
        fs::write(directory.path().join(EARLIER_FILE), "[]").unwrap();
        assert_eq!(found(directory.path(), "6.18", 2 * HOUR), [failure(HOUR)]);
    }

    #[test]
    fn a_damaged_file_costs_only_what_it_had() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "[{\"name\":").unwrap();
        assert_eq!(found(directory.path(), "6.18", HOUR), []);
        kept(directory.path());
    }
}
