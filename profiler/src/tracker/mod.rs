//! From the PIDs of processes that began, changed or ended to events with what /proc shows of them. Owns when they are
//! read, and that this stays cheap whatever the machine does; has no clock.
//!
//! A process that began and ended between two calls is never read. One call reads no more than [`READS`] processes, and between two calls
//! no more ancestors are looked up; the rest waits for the next. When PIDs were lost, all processes are scanned again, which may take several calls. What a process
//! descends from is in `lineage`, while somebody asks for that.

mod lineage;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use auto_ext_signals::{MAX_ANCESTORS, MAX_PROCESSES, Process, ProcessEvent};

use crate::process;
use lineage::Lineage;

/// How many processes one call reads; each takes some 30 µs.
const READS: u32 = 256;
/// The least time from one scan to the next.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// Which processes are known, and which are yet to be read.
pub(crate) struct ProcessTracker {
    proc: PathBuf,
    /// Processes that were reported and have not ended.
    known: HashSet<u32>,
    changed: Queue,
    /// Those of `known` that ended since the last call.
    ended: Vec<u32>,
    scan: Option<Scan>,
    /// A scan is wanted, because PIDs were lost or there was none before.
    wanted: bool,
    last_scan: Option<Instant>,
    /// `None` while nobody asks for ancestors.
    lineage: Option<Lineage>,
    /// How many more processes may be looked up until the next call.
    look_ups: u32,
}

/// A scan on its way.
struct Scan {
    todo: Queue,
    found: HashMap<u32, Process>,
    /// The parents of those found of which nothing else says what they descend from.
    parents: HashMap<u32, u32>,
}

/// PIDs in the order in which they came, each once.
#[derive(Default)]
struct Queue {
    order: VecDeque<u32>,
    members: HashSet<u32>,
}

impl ProcessTracker {
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
            lineage: None,
            look_ups: READS,
        }
    }

    /// Whether processes are told with their ancestors from now on.
    pub(crate) fn tell_ancestors(&mut self, wanted: bool) {
        if self.lineage.is_some() != wanted {
            self.lineage = wanted.then(Lineage::default);
            // What it has found lacks them, or has them.
            self.scan = None;
            self.wanted = true;
            self.last_scan = None;
        }
    }

    /// A process was forked by another.
    pub(crate) fn forked(&mut self, pid: u32, parent: u32) {
        if let Some(lineage) = &mut self.lineage {
            look_up(parent, lineage, &self.proc, &mut self.look_ups);
            // A scan finds out what there was no time for.
            self.wanted |= self.look_ups == 0;
            lineage.forked(pid, parent);
        }
        self.changed(pid);
    }

    /// A process runs a program that the kernel calls `comm`.
    pub(crate) fn executed(&mut self, pid: u32, comm: &[u8]) {
        if let Some(lineage) = &mut self.lineage {
            lineage.executed(pid, comm);
        }
        self.changed(pid);
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
        if let Some(lineage) = &mut self.lineage {
            lineage.ended(pid);
        }
        if let Some(scan) = &mut self.scan {
            scan.todo.remove(pid);
            scan.found.remove(&pid);
            scan.parents.remove(&pid);
        }
        if self.known.remove(&pid) {
            self.ended.push(pid);
        }
    }

    /// PIDs were lost.
    pub(crate) fn lost(&mut self) {
        if let Some(lineage) = &mut self.lineage {
            lineage.doubt();
        }
        self.wanted = true;
    }

    /// When [`events`](Self::events) is to be called though there were no further PIDs: some processes are yet to be read,
    /// or a scan is wanted.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.scan.is_some() || !self.changed.is_empty() {
            return Some(now);
        }
        self.wanted.then(|| self.scan_from().unwrap_or(now))
    }

    /// The changes since the last call, as far as processes could be read.
    pub(crate) fn events(&mut self, now: Instant) -> Vec<ProcessEvent> {
        self.look_ups = READS;
        let ended = self.ended.drain(..);
        let mut events: Vec<_> = ended.map(|pid| ProcessEvent::Ended { pid }).collect();
        let mut reads = READS;
        while reads > 0
            && let Some(pid) = self.changed.pop()
        {
            reads -= 1;
            if let Some(process) = self.read(pid) {
                events.push(ProcessEvent::Started(process));
            }
        }
        if let Some(all) = self.continue_scan(reads) {
            events.push(ProcessEvent::All(all));
        }
        // It begins with the next call: the kernel reports the end of a process just before /proc shows it.
        if self.wanted && self.scan.is_none() && self.scan_from().is_none_or(|from| from <= now) {
            self.wanted = false;
            self.last_scan = Some(now);
            self.scan = Some(Scan::of(&self.proc));
        }
        events
    }

    /// The earliest time of the next scan; `None` when there was none yet.
    fn scan_from(&self) -> Option<Instant> {
        self.last_scan.map(|last| last + SCAN_EVERY)
    }

    /// Reads a process that changed; `None` when it has ended or too many are known.
    fn read(&mut self, pid: u32) -> Option<Process> {
        if self.known.len() >= MAX_PROCESSES && !self.known.contains(&pid) {
            return None;
        }
        let mut process = process::read(&self.proc, pid)?;
        self.known.insert(pid);
        if let Some(lineage) = &mut self.lineage {
            let parent = lineage
                .see(&process)
                .then(|| process::parent(&self.proc, pid));
            if let Some(parent) = parent.flatten() {
                // A scan finds out what nothing is known of yet.
                match &mut self.scan {
                    Some(scan) => drop(scan.parents.insert(pid, parent)),
                    None => lineage.adopt(&process, parent),
                }
            }
            process.ancestors = lineage.ancestors(pid);
        }
        if let Some(scan) = &mut self.scan {
            scan.todo.remove(pid);
            scan.found.insert(pid, process.clone());
        }
        Some(process)
    }

    /// Continues the scan, if there is one, with at most so many reads. Returns all processes when it has ended.
    fn continue_scan(&mut self, reads: u32) -> Option<Vec<Process>> {
        let scan = self.scan.as_mut()?;
        for _ in 0..reads {
            let Some(pid) = scan.todo.pop() else { break };
            if let Some(process) = process::read(&self.proc, pid) {
                if self
                    .lineage
                    .as_mut()
                    .is_some_and(|lineage| lineage.see(&process))
                    && let Some(parent) = process::parent(&self.proc, pid)
                {
                    scan.parents.insert(pid, parent);
                }
                scan.found.insert(pid, process);
            }
        }
        if !scan.todo.is_empty() {
            return None;
        }
        let Scan {
            mut found, parents, ..
        } = self.scan.take()?;
        if let Some(lineage) = &mut self.lineage {
            lineage.settle(&found, parents);
            for (pid, process) in &mut found {
                process.ancestors = lineage.ancestors(*pid);
            }
        }
        self.known = found.keys().copied().collect();
        Some(found.into_values().collect())
    }
}

/// Has `lineage` know `pid`, as far as /proc still tells: what it forks may be reported before a scan has come to it, and both
/// may have ended by then. Takes what it reads from `reads`.
fn look_up(pid: u32, lineage: &mut Lineage, proc: &Path, reads: &mut u32) {
    let mut path = Vec::new();
    let mut next = Some(pid);
    while let Some(pid) = next
        && path.len() < MAX_ANCESTORS
        && *reads > 0
        && lineage.lacks(pid)
    {
        *reads -= 1;
        let Some(process) = process::read(proc, pid) else {
            break;
        };
        next = process::parent(proc, pid);
        path.push((process, next));
    }
    while let Some((process, parent)) = path.pop() {
        lineage.adopt(&process, parent.unwrap_or(0));
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
            parents: HashMap::new(),
        }
    }
}

impl Queue {
    /// Adds a PID; false when there is no room for it.
    fn push(&mut self, pid: u32) -> bool {
        if self.members.contains(&pid) {
            return true;
        }
        // Removed ones keep their place until it is their turn.
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
