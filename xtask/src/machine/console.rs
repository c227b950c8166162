//! Owns what the kernel says on the console: the log that is kept of it, its last lines for an
//! error message, and the signs that the machine is lost.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// How many lines an error message quotes.
const TAIL: usize = 40;

/// What the kernel says when it, or a part of it, does not go on; and what that means.
#[rustfmt::skip]
const LOST: &[(&str, &str)] = &[
    ("Kernel panic - not syncing",          "the kernel panicked"),
    ("kernel BUG at ",                      "the kernel found a bug in itself"),
    ("BUG: unable to handle",               "the kernel accessed memory it must not"),
    ("BUG: kernel NULL pointer",            "the kernel accessed memory it must not"),
    ("Oops: ",                              "the kernel stumbled"),
    ("BUG: soft lockup",                    "a CPU was locked up"),
    ("Watchdog detected hard LOCKUP",       "a CPU was locked up"),
    ("detected stalls on CPUs",             "RCU stalled"),
    ("self-detected stall on CPU",          "RCU stalled"),
    ("detected expedited stalls",           "RCU stalled"),
    ("kthread starved for",                 "RCU stalled"),
    ("blocked for more than",               "a task hung"),
    ("auto-ext machine: cannot boot",       "the machine could not put its root together"),
    ("You are in emergency mode",           "systemd gave up booting"),
];

/// What it means that the console says `line`, if that ends the run.
pub(super) fn lost(line: &str) -> Option<&'static str> {
    LOST.iter()
        .find(|(sign, _)| line.contains(sign))
        .map(|(_, meaning)| *meaning)
}

/// The console's log.
pub(super) struct Console {
    path: PathBuf,
    file: File,
    tail: VecDeque<String>,
}

impl Console {
    /// Starts the log at `path`.
    pub(super) fn create(path: PathBuf) -> Result<Self> {
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            path,
            file,
            tail: VecDeque::new(),
        })
    }

    /// Notes one line; returns what it means, and the line, if that ends the run.
    pub(super) fn note(&mut self, line: &[u8]) -> Result<Option<String>> {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches(['\r', '\n']);
        writeln!(self.file, "{line}")
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        Ok(lost(line).map(|meaning| format!("{meaning}: {}", line.trim())))
    }

    /// The last lines and where the others are, for an error message.
    pub(super) fn last_lines(&self) -> String {
        let mut text = String::from("the console's last lines:\n");
        for line in &self.tail {
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        }
        text + &format!("the whole console: {}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_kernel_is_recognised() {
        for line in [
            "[   12.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
            "[   40.0] watchdog: BUG: soft lockup - CPU#2 stuck for 26s! [scx_bpfland:123]",
            "[   61.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[   61.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[  242.0] INFO: task fio:77 blocked for more than 120 seconds.",
            "[    3.1] Oops: general protection fault, probably for non-canonical address: 0000",
            "[    3.1] BUG: kernel NULL pointer dereference, address: 0000000000000008",
        ] {
            assert!(lost(line).is_some(), "{line}");
        }
    }

    #[test]
    fn what_a_sound_kernel_says_is_not_taken_for_a_lost_one() {
        for line in [
            "Command line: console=ttyS0 panic=-1 watchdog_thresh=30 softlockup_panic=0",
            "sched_ext: BPF scheduler \"bpfland\" disabled (unregistered from user space)",
            "sched_ext: BPF scheduler \"bad\" disabled (runnable task stall)",
            "bad[123] failed to run for 30.1s",
            "rcu: \tRCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=4.",
            "NMI watchdog: Perf NMI watchdog permanently disabled",
        ] {
            assert_eq!(lost(line), None, "{line}");
        }
    }

    #[test]
    fn the_log_keeps_everything_and_the_message_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut console = Console::create(directory.path().join("console.log")).unwrap();
        for number in 0..TAIL + 5 {
            assert_eq!(
                console
                    .note(format!("line {number}\r\n").as_bytes())
                    .unwrap(),
                None
            );
        }
        assert!(!console.last_lines().contains("line 4\n"));
        assert!(console.last_lines().contains("line 5\n"));
        let log = std::fs::read_to_string(&console.path).unwrap();
        assert!(log.starts_with("line 0\nline 1\n"));
    }
}
