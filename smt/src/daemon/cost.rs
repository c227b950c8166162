//! What the service does each second to observe and in a trial, on groups that are given and with counters that every kernel has, so that it can be
//! measured what that takes. Not in the program.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::core::Observed;
use crate::counters::{Counters, Metric, Perf};
use crate::groups::{Given, Group, GroupBy, Rules, tids};
use crate::topology::Topology;

use super::counting::{Counting, Source};
use super::state::LOOK;
use super::watch::Watch;

const ROOT: &str = "/";
const SECOND: Duration = Duration::from_secs(1);
/// The length of a tick does not matter to what it takes.
const TICKS: u64 = 100;

/// Time and page faults in place of cycles and instructions: the same system calls.
struct Software;

impl Source for Software {
    fn check(&mut self, _cpu: u32) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    fn open(&mut self, group: &Group, most: usize) -> Result<(Box<dyn Counters>, usize), String> {
        let mut counters = Perf::software(most);
        let tids = tids(Path::new(ROOT), &group.pids, most).map_err(|why| why.to_string())?;
        for tid in &tids {
            counters.open(*tid).map_err(|why| why.to_string())?;
        }
        Ok((Box::new(counters), tids.len()))
    }
}

/// Observes these groups for so long, and says of how many it was seen how they ran.
#[must_use]
pub fn observe(groups: &[Group], time: Duration) -> usize {
    let mut seen = 0;
    each_second(groups, time, false, |counting, _| {
        if let Some(window) = counting.take_seen() {
            seen = window.occupied.groups.len();
        }
    });
    seen
}

/// Counts all windows of these groups for so long, as a trial does, and says how many these were.
#[must_use]
pub fn count_windows(groups: &[Group], time: Duration) -> usize {
    let mut windows = 0;
    each_second(groups, time, true, |_, observed| {
        windows += usize::from(observed.is_some_and(|window| window.speeds.len() == groups.len()));
    });
    windows
}

fn each_second(
    groups: &[Group],
    time: Duration,
    in_trial: bool,
    mut each: impl FnMut(&mut Counting, Option<Observed>),
) {
    crate::counters::raise_file_limit();
    let root = Path::new(ROOT);
    let topology = Topology::read(root).unwrap_or_else(|_| Topology {
        online: [].into(),
        isolated: [].into(),
        domains: Vec::new(),
    });
    let rules = Rules {
        group_by: GroupBy::ProcessGroup,
        long_running: 0,
        exclude: Vec::new(),
        ticks: TICKS,
    };
    let mut watch = Watch::new(root, rules, Duration::ZERO);
    let mut counting = Counting::new(root, Box::new(Software), Metric::Ipc);
    let (begun, mut next_look) = (Instant::now(), Duration::ZERO);
    if in_trial {
        let members = groups.iter().map(|group| group.key.clone()).collect();
        counting.begin(members, groups, Duration::ZERO);
    }
    while begun.elapsed() < time {
        let now = begun.elapsed();
        if now >= next_look {
            next_look = now + LOOK;
            let _ = watch.look(&topology, &Given::new(), now);
        }
        let observed = counting.step(groups, now);
        each(&mut counting, observed);
        thread::sleep(SECOND);
    }
}
