//! Counts groups: ten seconds of each minute, or window after window while something is tried or in place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::{Moment, Observed};
use crate::counters::{Counters, Metric, Perf, Reading, pmu, raise_file_limit, speed};
use crate::groups::{Group, Key, MAX_THREADS};
use crate::trial::WINDOW;
use crate::usage::{Occupancy, Occupied, Waits};

/// How long it is counted where nothing is tried, and how often.
const COUNTED: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(60);
const EACH_WINDOW: Duration = Duration::from_secs(WINDOW);

/// Where counters come from.
pub trait Source {
    /// Whether they are to be believed, tried on this CPU; else one word for why not, and the reason.
    ///
    /// # Errors
    /// When they are not.
    fn check(&mut self, cpu: u32) -> Result<(), (&'static str, String)>;

    /// Counts all threads of a group, at most so many. Returns how many these are.
    ///
    /// # Errors
    /// When they cannot be counted.
    fn open(&mut self, group: &Group, most: usize) -> Result<(Box<dyn Counters>, usize), String>;
}

/// The processor's counters.
#[derive(Debug)]
pub struct Hardware(PathBuf);

impl Hardware {
    /// Of the machine whose /sys and /proc are below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        raise_file_limit();
        Self(root.to_owned())
    }
}

impl Source for Hardware {
    fn check(&mut self, cpu: u32) -> Result<(), (&'static str, String)> {
        pmu::check(&self.0, cpu).map_err(|why| (why.word(), why.to_string()))
    }

    fn open(&mut self, group: &Group, most: usize) -> Result<(Box<dyn Counters>, usize), String> {
        let counters = Perf::of_processes(&self.0, &group.pids, most);
        let counters = counters.map_err(|why| why.to_string())?;
        let threads = counters.threads();
        Ok((Box::new(counters), threads))
    }
}

/// A group that is counted.
struct Counted {
    counters: Box<dyn Counters>,
    pids: Vec<u32>,
    before: Result<Reading, String>,
    waits: Waits,
}

/// How fast each group was when it was last counted, or why that is not known.
pub(super) type Speeds = BTreeMap<Key, Result<f64, String>>;

/// A window in which it was seen where groups ran.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) occupied: Occupied,
    /// The instructions per cycle of each group that was counted, whatever speed is by the configuration.
    pub(super) ipc: BTreeMap<Key, f64>,
}

/// What is counted, and when.
pub(super) struct Counting {
    root: PathBuf,
    source: Box<dyn Source>,
    pub(super) metric: Metric,
    open: BTreeMap<Key, Counted>,
    speeds: Speeds,
    /// The groups of which every window is wanted, in their order.
    members: Option<Vec<Key>>,
    /// When the next window ends, or counting begins.
    next: Moment,
    /// Where all ran as the window began that is under way, if that is looked at.
    occupancy: Option<Occupancy>,
    /// When it is looked at next.
    next_occupancy: Moment,
    seen: Option<Seen>,
}

impl Counting {
    pub(super) fn new(root: &Path, source: Box<dyn Source>, metric: Metric) -> Self {
        Self {
            root: root.to_owned(),
            source,
            metric,
            open: BTreeMap::new(),
            speeds: Speeds::new(),
            members: None,
            next: Moment::ZERO,
            occupancy: None,
            next_occupancy: Moment::ZERO,
            seen: None,
        }
    }

    /// Whether the counters are to be believed.
    pub(super) fn check(&mut self, cpu: u32) -> Result<(), (&'static str, String)> {
        self.source.check(cpu)
    }

    /// How fast each group was when it was last counted.
    pub(super) fn speeds(&self) -> &Speeds {
        &self.speeds
    }

    /// The last window in which it was seen where groups ran, once.
    pub(super) fn take_seen(&mut self) -> Option<Seen> {
        self.seen.take()
    }

    /// From now on every window of these groups, in this order, is wanted.
    pub(super) fn begin(&mut self, members: Vec<Key>, groups: &[Group], now: Moment) {
        let wanted: BTreeSet<&Key> = members.iter().collect();
        self.start(|group| wanted.contains(&group.key), groups);
        self.members = Some(members);
        self.next = now + EACH_WINDOW;
    }

    /// From now on no more is counted than observing takes.
    pub(super) fn end(&mut self, now: Moment) {
        if self.members.take().is_some() {
            self.open.clear();
            self.next = now + EVERY;
        }
    }

    /// Counts nothing any more.
    pub(super) fn stop(&mut self) {
        self.members = None;
        self.open.clear();
        self.speeds.clear();
    }

    /// Does what is to be done by now. Returns the window that ended, where each is wanted.
    pub(super) fn step(&mut self, groups: &[Group], now: Moment) -> Option<Observed> {
        if now < self.next {
            return None;
        }
        if let Some(members) = self.members.clone() {
            // Windows follow each other without a gap, unless this was not called for long.
            self.next = (self.next + EACH_WINDOW).max(now + EACH_WINDOW / 2);
            let delays = self.read(now);
            let of = |key: &Key| self.speeds.get(key)?.as_ref().ok().copied();
            return Some(Observed {
                speeds: members.iter().map(of).collect(),
                delays: members
                    .iter()
                    .map(|key| delays.get(key).copied().flatten())
                    .collect(),
            });
        }
        if self.open.is_empty() {
            if !groups.iter().any(|group| group.eligible.is_ok()) {
                return None;
            }
            self.start(|group| group.eligible.is_ok(), groups);
            self.look(now);
            self.next = now + if self.open.is_empty() { EVERY } else { COUNTED };
        } else {
            self.read(now);
            self.open.clear();
            self.next = now + (EVERY - COUNTED);
        }
        None
    }

    /// Counts what has come into the groups from outside; what they start themselves is counted already.
    pub(super) fn follow(&mut self, groups: &[Group], parent: impl Fn(u32) -> Option<u32>) {
        if self.members.is_none() {
            return;
        }
        for group in groups {
            let Some(counted) = self.open.get_mut(&group.key) else {
                continue;
            };
            let mut known: BTreeSet<u32> = counted.pids.iter().copied().collect();
            for pid in &group.pids {
                let is_child = parent(*pid).is_some_and(|parent| known.contains(&parent));
                if known.insert(*pid) && !is_child {
                    // What cannot be counted is a part of a group of which the rest is.
                    let _ = counted.counters.open(*pid);
                }
            }
            counted.pids.clone_from(&group.pids);
        }
    }

    /// Begins to count some of the groups.
    fn start(&mut self, is_wanted: impl Fn(&Group) -> bool, groups: &[Group]) {
        self.open.clear();
        self.speeds.clear();
        self.occupancy = None;
        let mut left = MAX_THREADS;
        for group in groups.iter().filter(|group| is_wanted(group)) {
            match self.source.open(group, left) {
                Ok((mut counters, threads)) => {
                    left = left.saturating_sub(threads);
                    let before = counters.read().map_err(|why| why.to_string());
                    let counted = Counted {
                        counters,
                        pids: group.pids.clone(),
                        before,
                        waits: Waits::read(&self.root, &group.pids),
                    };
                    self.open.insert(group.key.clone(), counted);
                }
                Err(why) => drop(self.speeds.insert(group.key.clone(), Err(why))),
            }
        }
    }

    /// Looks where all run that are counted, once a minute: each thread takes a file.
    fn look(&mut self, now: Moment) {
        self.occupancy = (now >= self.next_occupancy).then(|| {
            self.next_occupancy = now + EVERY;
            self.occupancy()
        });
    }

    fn occupancy(&self) -> Occupancy {
        let groups = self.open.iter();
        Occupancy::read(
            &self.root,
            groups.map(|(key, counted)| (key, &counted.pids[..])),
        )
    }

    /// Reads all counters: how fast each group was since they were last read, and how long it waited, which is returned.
    fn read(&mut self, now: Moment) -> BTreeMap<Key, Option<f64>> {
        let mut delays = BTreeMap::new();
        let mut ipc = BTreeMap::new();
        for (key, counted) in &mut self.open {
            let now = counted.counters.read().map_err(|why| why.to_string());
            let fast = match (&counted.before, &now) {
                (Ok(before), Ok(now)) => {
                    speed(self.metric, before, now).map_err(|why| why.to_string())
                }
                (_, Err(why)) | (Err(why), _) => Err(why.clone()),
            };
            if let (Ok(before), Ok(now)) = (&counted.before, &now)
                && let Ok(fast) = speed(Metric::Ipc, before, now)
            {
                ipc.insert(key.clone(), fast);
            }
            let waits = Waits::read(&self.root, &counted.pids);
            delays.insert(key.clone(), waits.since(&counted.waits));
            counted.before = now;
            counted.waits = waits;
            self.speeds.insert(key.clone(), fast);
        }
        if let Some(before) = self.occupancy.take() {
            let occupied = self.occupancy().since(&before);
            self.seen = Some(Seen { occupied, ipc });
        }
        self.look(now);
        delays
    }
}
