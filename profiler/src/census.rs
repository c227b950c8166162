//! From numbers of processes that came, went or changed to events with what /proc shows of them.
//! Owns when to look, and that looking stays cheap whatever the machine does; has no clock.
//!
//! A process that came and went between two calls is never looked at. One call looks at no more
//! than [`LOOKS`] processes; the rest waits for the next. When numbers were lost, all processes are
//! gone through again, which takes as many calls as it takes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::{self, MAX_PROCESSES, Process, ProcessEvent};

/// How many processes one call looks at; each takes some 30 µs.
const LOOKS: u32 = 256;
/// No scan begins sooner after the last.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// What is known of the machine's processes, and what is yet to be looked at.
pub(crate) struct Census {
    proc: PathBuf,
    /// Processes that were reported and have not ended.
    known: HashSet<u32>,
    changed: Queue,
    /// Those of `known` that ended since the last call.
    ended: Vec<u32>,
    scan: Option<Scan>,
    /// A scan is wanted, because numbers were lost or there were none before.
    wanted: bool,
    last_scan: Option<Instant>,
}

/// A scan on its way.
struct Scan {
    todo: Queue,
    found: HashMap<u32, Process>,
}

/// Numbers in the order in which they came, each once.
#[derive(Default)]
struct Queue {
    order: VecDeque<u32>,
    members: HashSet<u32>,
}

impl Census {
    /// Nothing is known yet of what `proc` shows: a scan is wanted.
    pub(crate) fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            known: HashSet::new(),
            changed: Queue::default(),
            ended: Vec::new(),
            scan: None,
            wanted: true,
            last_scan: None,
        }
    }

    /// A process began or changed.
    pub(crate) fn changed(&mut self, pid: u32) {
        if !self.changed.push(pid) {
            self.wanted = true;
        }
    }

    /// A process ended.
    pub(crate) fn ended(&mut self, pid: u32) {
        self.changed.remove(pid);
        if let Some(scan) = &mut self.scan {
            scan.todo.remove(pid);
            scan.found.remove(&pid);
        }
        if self.known.remove(&pid) {
            self.ended.push(pid);
        }
    }

    /// Numbers were lost.
    pub(crate) fn lost(&mut self) {
        self.wanted = true;
    }

    /// When [`events`](Self::events) is to be called though no numbers came: there is a rest to be
    /// looked at, or a scan is wanted.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.scan.is_some() || !self.changed.is_empty() {
            return Some(now);
        }
        self.wanted.then(|| self.scan_from().unwrap_or(now))
    }

    /// What happened since the last call, as far as it could be looked at.
    pub(crate) fn events(&mut self, now: Instant) -> Vec<ProcessEvent> {
        let ended = self.ended.drain(..);
        let mut events: Vec<_> = ended.map(|pid| ProcessEvent::Ended { pid }).collect();
        let mut looks = LOOKS;
        while looks > 0
            && let Some(pid) = self.changed.pop()
        {
            looks -= 1;
            if let Some(process) = self.look(pid) {
                events.push(ProcessEvent::Started(process));
            }
        }
        if let Some(all) = self.scan_on(looks) {
            events.push(ProcessEvent::All(all));
        }
        // The first look is left to the next call: the kernel says that a process ends just before
        // it looks like it.
        if self.wanted && self.scan.is_none() && self.scan_from().is_none_or(|from| from <= now) {
            self.wanted = false;
            self.last_scan = Some(now);
            self.scan = Some(Scan::of(&self.proc));
        }
        events
    }

    /// Before then no scan may begin; `None` when there was none yet.
    fn scan_from(&self) -> Option<Instant> {
        self.last_scan.map(|last| last + SCAN_EVERY)
    }

    /// Looks at a process that changed; `None` when there is nothing to tell of it.
    fn look(&mut self, pid: u32) -> Option<Process> {
        if self.known.len() >= MAX_PROCESSES && !self.known.contains(&pid) {
            return None;
        }
        let process = Process::read(&self.proc, pid)?;
        self.known.insert(pid);
        if let Some(scan) = &mut self.scan {
            scan.todo.remove(pid);
            scan.found.insert(pid, process.clone());
        }
        Some(process)
    }

    /// Goes on with the scan, if there is one, by at most so many looks; returns all processes when
    /// it is through.
    fn scan_on(&mut self, looks: u32) -> Option<Vec<Process>> {
        let scan = self.scan.as_mut()?;
        for _ in 0..looks {
            let Some(pid) = scan.todo.pop() else { break };
            if let Some(process) = Process::read(&self.proc, pid) {
                scan.found.insert(pid, process);
            }
        }
        if !scan.todo.is_empty() {
            return None;
        }
        let found = self.scan.take()?.found;
        self.known = found.keys().copied().collect();
        Some(found.into_values().collect())
    }
}

impl Scan {
    fn of(proc: &Path) -> Self {
        let mut todo = Queue::default();
        for pid in process::pids(proc) {
            todo.push(pid);
        }
        Self {
            todo,
            found: HashMap::new(),
        }
    }
}

impl Queue {
    /// Adds a number; false when there is no room for it.
    fn push(&mut self, pid: u32) -> bool {
        if self.members.contains(&pid) {
            return true;
        }
        // Removed numbers keep their place until it is their turn.
        if self.order.len() >= MAX_PROCESSES {
            return false;
        }
        self.order.push_back(pid);
        self.members.insert(pid)
    }

    fn remove(&mut self, pid: u32) {
        self.members.remove(&pid);
    }

    fn pop(&mut self) -> Option<u32> {
        loop {
            let pid = self.order.pop_front()?;
            if self.members.remove(&pid) {
                return Some(pid);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

#[cfg(test)]
mod tests;
