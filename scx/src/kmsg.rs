//! Why the kernel disabled a scheduler, from its log (/dev/kmsg).
//!
//! Without the right to read the log, the reason is only known from what the scheduler's process printed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use auto_ext_core::{Cause, End};
use nix::fcntl::OFlag;

use crate::process::exit_reason;

/// The longest record that the kernel gives (CONSOLE_EXT_LOG_MAX of include/linux/printk.h).
const RECORD: usize = 8192;
/// How many records are read at once; what is older says nothing of the scheduler that has just ended.
const RECORDS: usize = 10_000;

/// The log from the moment of opening on.
#[derive(Debug)]
pub struct KernelLog(Option<File>);

impl KernelLog {
    /// Begins to listen to the log at `path`, which is /dev/kmsg but in tests. Where it cannot be read, nothing is ever
    /// found in it.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
            .and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file));
        if let Err(error) = &file {
            tracing::info!(
                "the kernel's log cannot be read: {}: {error}",
                path.display()
            );
        }
        Self(file.ok())
    }

    /// Forgets all that was said until now: another scheduler runs from here on.
    pub fn skip(&mut self) {
        if let Some(file) = &mut self.0 {
            // What could not be skipped is read later, and mostly says nothing.
            let _ = file.seek(SeekFrom::End(0));
        }
    }

    /// The failure for which the kernel last disabled a scheduler since this was asked before.
    pub fn ejection(&mut self) -> Option<End> {
        // The scheduler itself is named in many ways; only one can run.
        self.last_ejection(|_| true)
    }

    /// The failure for which the kernel last disabled the scheduler with these operations since it was
    /// asked for any.
    pub fn ejection_of(&mut self, ops: &str) -> Option<End> {
        self.last_ejection(|of| of == ops)
    }

    fn last_ejection(&mut self, is_meant: impl Fn(&str) -> bool) -> Option<End> {
        let file = self.0.as_mut()?;
        let mut record = [0; RECORD];
        let mut last = None;
        for _ in 0..RECORDS {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    if let Some((ops, end)) = disabled(&text)
                        && is_meant(ops)
                    {
                        last = Some(end);
                    }
                }
                // Overwritten before it was read: the next are there.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => break,
            }
        }
        last
    }

    /// The end of a process, together with what the kernel said of its scheduler since this was asked before.
    pub fn complete(&mut self, end: End) -> End {
        complete(end, self.ejection())
    }
}

/// The end of a process whose scheduler the kernel may have disabled for an error, `ejection`: that is then the cause,
/// unless the process ended for one that the kernel cannot know.
#[must_use]
pub fn complete(end: End, ejection: Option<End>) -> End {
    match (ejection, end.cause) {
        (Some(ejection), Cause::Left | Cause::Crashed | Cause::Killed) => End {
            text: format!("{end}; {ejection}"),
            ..ejection
        },
        _ => end,
    }
}

/// What a record says of a scheduler that was disabled for an error, with the name of its operations:
/// `6,1234,5678,-;sched_ext: BPF scheduler "x" disabled (runnable task stall)`.
fn disabled(record: &str) -> Option<(&str, End)> {
    let (_, text) = record.split_once(';')?;
    let text = text.lines().next()?;
    let said = text.strip_prefix("sched_ext: BPF scheduler \"")?;
    let (ops, reason) = said.rsplit_once("\" disabled (")?;
    let reason = reason.strip_suffix(')')?;
    let cause = exit_reason::of_the_kernel(reason)?;
    let text = format!("the kernel disabled it: {reason}");
    Some((ops, End { cause, text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: &str = "3,1234,56789,-;sched_ext: BPF scheduler \"bpfland_1.1.4\" disabled (runnable task stall)\n";

    #[test]
    fn only_errors_of_schedulers_are_ejections() {
        let (ops, stall) = disabled(STALL).unwrap();
        assert_eq!(ops, "bpfland_1.1.4");
        assert_eq!(stall.cause, Cause::Stalled);
        assert_eq!(stall.text, "the kernel disabled it: runnable task stall");
        for other in [
            "6,1,2,-;sched_ext: BPF scheduler \"bpfland_1.1.4\" enabled\n",
            "6,1,2,-;sched_ext: BPF scheduler \"bpfland_1.1.4\" disabled (unregistered from user space)\n",
            "12,1,2,-;alice says: sched_ext: BPF scheduler \"x\" disabled (runnable task stall)\n",
            "6,1,2,-;sched_ext: BPF scheduler \"x\" disabled (\n",
            "",
        ] {
            assert_eq!(disabled(other), None, "{other}");
        }
    }

    #[test]
    fn the_ejection_of_another_scheduler_is_not_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kmsg");
        std::fs::write(&path, "").unwrap();
        let mut log = KernelLog::open(&path);
        std::fs::write(&path, STALL).unwrap();
        assert_eq!(log.ejection_of("cosmos_1.1.7"), None);
        log = KernelLog::open(&path);
        std::fs::write(&path, STALL.repeat(2)).unwrap();
        let stalled = log.ejection_of("bpfland_1.1.4").map(|end| end.cause);
        assert_eq!(stalled, Some(Cause::Stalled));
    }

    #[test]
    fn a_log_that_cannot_be_read_says_nothing() {
        let mut log = KernelLog::open(Path::new("/nonexistent"));
        let end = End {
            cause: Cause::Left,
            text: "exited with status 0".into(),
        };
        assert_eq!(log.complete(end.clone()), end);
    }
}
