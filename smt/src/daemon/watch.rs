//! Which groups there are and how busy they are, over the last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::Moment;
use crate::groups::{Given, Group, Key, Processes, Rules, groups};
use crate::topology::Topology;

/// Over this time it is looked how busy a group is: less gives alarms that are false.
const OVER: Duration = Duration::from_secs(300);
/// Of how many looks in that time one is kept.
const KEPT: u32 = 10;
/// A group keeps its number of workers until it is busy on this many CPUs more or less.
const STEADY: f64 = 0.75;

/// What was seen.
#[derive(Debug)]
pub(super) struct Watch {
    root: PathBuf,
    rules: Rules,
    /// After how long something can be said, and how far apart looks are that are kept.
    enough: Duration,
    seen: VecDeque<(Moment, Processes)>,
    workers: BTreeMap<Key, u32>,
}

impl Watch {
    pub(super) fn new(root: &Path, rules: Rules, enough: Duration) -> Self {
        Self {
            root: root.to_owned(),
            rules,
            enough,
            seen: VecDeque::new(),
            workers: BTreeMap::new(),
        }
    }

    /// Begins anew with other rules.
    pub(super) fn follow(&mut self, rules: Rules) {
        *self = Self::new(&self.root, rules, self.enough);
    }

    /// The groups now; `None` while it was not looked for long enough.
    pub(super) fn look(
        &mut self,
        topology: &Topology,
        given: &Given,
        now: Moment,
    ) -> Option<Vec<Group>> {
        let ticks = self.rules.ticks;
        let at = now.as_secs() * ticks + u64::from(now.subsec_millis()) * ticks / 1000;
        let processes = Processes::read(&self.root, at);
        let age = |at: Moment| now.saturating_sub(at);
        while self.seen.len() > 1 && self.seen.get(1).is_some_and(|(at, _)| age(*at) >= OVER) {
            self.seen.pop_front();
        }
        let before = self.seen.front().filter(|(at, _)| age(*at) >= self.enough);
        let found = before.map(|(_, before)| {
            groups(&self.root, topology, &self.rules, given, before, &processes)
        });
        let last = self.seen.back();
        if last.is_none_or(|(at, _)| age(*at) >= OVER / KEPT) {
            self.seen.push_back((now, processes));
        }
        found.map(|found| self.steady(found))
    }

    /// The groups, with as many workers as they had unless that has clearly changed.
    fn steady(&mut self, mut found: Vec<Group>) -> Vec<Group> {
        for group in &mut found {
            let before = self.workers.get(&group.key);
            let is_near = |before: &&u32| (group.busy - f64::from(**before)).abs() <= STEADY;
            if let Some(before) = before.filter(is_near) {
                group.workers = *before;
            }
        }
        let eligible = found.iter().filter(|group| group.eligible.is_ok());
        self.workers = eligible
            .map(|group| (group.key.clone(), group.workers))
            .collect();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::GroupBy;

    #[test]
    fn a_group_that_is_between_two_numbers_of_workers_stays_with_one() {
        let rules = Rules {
            group_by: GroupBy::Cgroup,
            long_running: 0,
            exclude: Vec::new(),
            ticks: 100,
        };
        let mut watch = Watch::new(Path::new("/"), rules, OVER);
        let group = |busy: f64, workers: u32| Group {
            key: Key::ProcessGroup(1),
            job: "a".to_owned(),
            pids: vec![1],
            busy,
            workers,
            home: Some(0),
            eligible: Ok(()),
        };
        let mut workers =
            |busy: f64, rounded: u32| watch.steady(vec![group(busy, rounded)])[0].workers;
        assert_eq!(workers(1.4, 1), 1);
        assert_eq!(workers(1.6, 2), 1);
        assert_eq!(workers(1.8, 2), 2);
        assert_eq!(workers(1.3, 1), 2);
        assert_eq!(workers(1.2, 1), 1);
    }
}
