//! Counts the threads of a group through the kernel: a pair of events for each thread that there is, which the kernel passes
//! on to all that it starts.

use std::path::Path;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::open_files;

use crate::groups::tids;

use super::event::{Kind, Pair};
use super::reading::{Counters, NotCounted, Reading};

/// How many threads of one group are counted at most: each takes two open files.
const MAX_THREADS: usize = 4096;
/// How large a number in /sys may be, in bytes.
const MAX_NUMBER: usize = 32;
/// The PMU of the cores with hardware threads, where others have none (Intel's hybrid processors).
const HYBRID: &str = "sys/bus/event_source/devices/cpu_core/type";

/// Counters of the kernel.
#[derive(Debug)]
pub struct Perf {
    kind: Kind,
    most: usize,
    /// One for each thread, also of those that have ended: each carries what it has started.
    pairs: Vec<Pair>,
}

impl Perf {
    /// Counts cycles and instructions, of so many threads at most, on the machine whose /sys is below `root`.
    #[must_use]
    pub fn hardware(root: &Path, most: usize) -> Self {
        let pmu = Root::new(root).text(HYBRID, MAX_NUMBER);
        let pmu = pmu.and_then(|text| text.trim_ascii().parse().ok());
        Self::new(Kind::Hardware(pmu), most)
    }

    /// Counts time and page faults, which every kernel can: how threads are followed is tried with it.
    #[must_use]
    pub fn software(most: usize) -> Self {
        Self::new(Kind::Software, most)
    }

    fn new(kind: Kind, most: usize) -> Self {
        Self {
            kind,
            most: most.min(MAX_THREADS),
            pairs: Vec::new(),
        }
    }

    /// Counts the hardware's events of all threads of some processes, at most so many, on the machine below `root`.
    ///
    /// # Errors
    /// When there are more, or one cannot be counted.
    pub fn of_processes(root: &Path, pids: &[u32], most: usize) -> Result<Self, NotCounted> {
        let mut counters = Self::hardware(root, most);
        let tids = tids(root, pids, most).map_err(|_| NotCounted::TooManyThreads(most))?;
        for tid in tids {
            match counters.open(tid) {
                // It ended meanwhile.
                Ok(()) | Err(NotCounted::Ended) => {}
                Err(why) => return Err(why),
            }
        }
        if counters.threads() == 0 {
            return Err(NotCounted::Ended);
        }
        Ok(counters)
    }

    /// How many threads are counted.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pairs.len()
    }
}

/// Lets this program have as many open files as it may: each thread that is counted takes two.
pub fn raise_file_limit() {
    open_files::raise_limit(u64::MAX);
}

impl Counters for Perf {
    fn open(&mut self, tid: u32) -> Result<(), NotCounted> {
        if self.pairs.len() >= self.most {
            return Err(NotCounted::TooManyThreads(self.most));
        }
        self.pairs.push(Pair::open(self.kind, tid)?);
        Ok(())
    }

    fn read(&mut self) -> Result<Reading, NotCounted> {
        let mut all = Reading::default();
        for pair in &self.pairs {
            let read = pair.read()?;
            all.cycles = all.cycles.saturating_add(read.cycles);
            all.instructions = all.instructions.saturating_add(read.instructions);
            all.enabled = all.enabled.saturating_add(read.enabled);
            all.running = all.running.saturating_add(read.running);
        }
        Ok(all)
    }
}
