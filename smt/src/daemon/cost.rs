//! What the service does each second to observe, on groups that are given and with counters that every kernel has, so that it can be
//! measured what that takes. Not in the program.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

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
    let mut seen = 0;
    while begun.elapsed() < time {
        let now = begun.elapsed();
        if now >= next_look {
            next_look = now + LOOK;
            let _ = watch.look(&topology, &Given::new(), now);
        }
        // Nobody wants single windows.
        let _ = counting.step(groups, now);
        if let Some(window) = counting.take_seen() {
            seen = window.occupied.groups.len();
        }
        thread::sleep(SECOND);
    }
    seen
}
