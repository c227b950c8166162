//! A process that a guest runs in.

use std::collections::BTreeMap;
use std::time::Duration;

use auto_ext_service::affinity_owner;
use auto_ext_service::cpu_list::MAX_CPUS;

use crate::moment::Moment;
use crate::snapshot::Mib;

use super::command_line::StartedFor;
use super::kept::Kept;
use super::texts::{Kernel, MAX_TEXT, in_ticks, kib_of, ticks_of};

/// The number of a process.
pub type Pid = u32;

/// How large a command line is at most that is looked at, in bytes.
const MAX_COMMAND: usize = 1 << 20;
/// How many processes are looked at.
const MAX_PROCESSES: usize = 1 << 16;
/// How large the map of a process's memory may be, in bytes.
const MAX_MAPS: usize = 4 << 20;

/// A process, which another with the same number is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// When it began.
    pub began: Moment,
}

/// What is told of a process at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which it is.
    pub process: Process,
    /// It has a nice value above 0; threads have what their process had when they began.
    pub is_niced: bool,
    /// How many threads it has.
    pub threads: u32,
}

impl Kernel {
    /// The process that has this number now.
    #[must_use]
    pub fn process(&self, pid: Pid) -> Option<Process> {
        self.stat(pid).map(|stat| stat.process)
    }

    /// The same, with what the kernel says of it at once.
    #[must_use]
    pub fn stat(&self, pid: Pid) -> Option<Stat> {
        self.stat_again(&mut Kept::default(), pid)
    }

    /// The same, and again and again: `kept` is of the process that is asked about.
    #[must_use]
    pub fn stat_again(&self, kept: &mut Kept, pid: Pid) -> Option<Stat> {
        let text = self.text_again(kept, || format!("proc/{pid}/stat")).ok()?;
        // The name is in brackets, and may have some itself.
        let (_, rest) = text.rsplit_once(')')?;
        // State is the third field; nice, num_threads and starttime are the 19th, 20th and 22nd (proc_pid_stat(5)).
        let mut fields = rest.split_ascii_whitespace().skip(19 - 3);
        let nice: i64 = fields.next()?.parse().ok()?;
        let threads = fields.next()?.parse().ok()?;
        let began = in_ticks(fields.nth(1)?.parse().ok()?);
        Some(Stat {
            process: Process { pid, began },
            is_niced: nice > 0,
            threads,
        })
    }

    /// The numbers of all processes.
    #[must_use]
    pub fn pids(&self) -> Vec<Pid> {
        self.root.numbers("proc", MAX_PROCESSES).unwrap_or_default()
    }

    /// Which guest a process was started for, as far as its command line says so.
    #[must_use]
    pub fn started_for(&self, pid: Pid) -> StartedFor {
        let path = format!("proc/{pid}/cmdline");
        let text = self.root.text(&path, MAX_COMMAND).unwrap_or_default();
        StartedFor::of_command(&text)
    }

    /// What of its memory the host has given so far.
    #[must_use]
    pub fn rss(&self, process: Process) -> Option<Mib> {
        let text = self
            .root
            .text(&format!("proc/{}/status", process.pid), MAX_TEXT)?;
        kib_of(&text, "VmRSS:")
    }

    /// The node that holds at least 60 % of its pages, if one does.
    #[must_use]
    pub fn home(&self, process: Process) -> Option<u32> {
        let path = format!("proc/{}/numa_maps", process.pid);
        let text = self.root.text(&path, MAX_MAPS)?;
        let mut pages: BTreeMap<u32, u64> = BTreeMap::new();
        for line in text.lines() {
            let size = word(line, "kernelpagesize_kB=").unwrap_or(4);
            for (node, count) in line.split_ascii_whitespace().filter_map(on_node) {
                let of = pages.entry(node).or_default();
                *of = of.saturating_add(count.saturating_mul(size));
            }
        }
        let all = pages.values().fold(0u64, |sum, of| sum.saturating_add(*of));
        let most = pages.into_iter().max_by_key(|(_, of)| *of)?;
        (most.1 > 0 && u128::from(most.1) * 10 >= u128::from(all) * 6).then_some(most.0)
    }
}

fn word(line: &str, name: &str) -> Option<u64> {
    let words = line.split_ascii_whitespace();
    words
        .filter_map(|word| word.strip_prefix(name))
        .find_map(|value| value.parse().ok())
}

/// `N0=123`.
fn on_node(word: &str) -> Option<(u32, u64)> {
    let (node, count) = word.strip_prefix('N')?.split_once('=')?;
    let node = node.parse().ok().filter(|node| *node < MAX_CPUS)?;
    Some((node, count.parse().ok()?))
}

impl Process {
    /// As services say of it whose it is.
    #[must_use]
    pub fn to_be_owned(self) -> affinity_owner::Process {
        affinity_owner::Process {
            pid: self.pid,
            began: ticks_of(self.began),
        }
    }

    /// How long it has run.
    #[must_use]
    pub fn uptime(self, now: Moment) -> Duration {
        now.saturating_sub(self.began)
    }
}
