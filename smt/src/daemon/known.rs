//! What is known of jobs, and what there is to place by it: from groups to a situation that can be decided about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use auto_ext_service::clock::now_us;

use crate::config::Config;
use crate::core::{Member, Neighbour, Passive, Ran, Situation, neighbours};
use crate::groups::{Group, Key};
use crate::model::{Combination, Job, SlowdownModel};
use crate::plan::Room;
use crate::store::{Store, StoreError};
use crate::topology::{Core, Domain, Place, Topology};

use super::counting::Seen;

/// No job is slower than this beside another, in parts of how fast it is alone.
const LEAST_SPEED: f64 = 0.01;

/// What is known of jobs.
#[derive(Debug)]
pub(super) struct Known {
    store: Store,
    read_at: Option<SystemTime>,
    jobs: BTreeMap<String, Job>,
    pairs: Combination,
    model: Option<SlowdownModel>,
    /// What was seen of jobs as they ran, and whether all of that is kept.
    seen: Passive,
    is_kept: bool,
}

/// What there is to place, and where.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) situation: Arc<Situation>,
}

impl Known {
    pub(super) fn new(store: Store) -> Self {
        let seen = store.seen().unwrap_or_else(|error| {
            tracing::warn!("what was seen of jobs is not known: {error}");
            Passive::default()
        });
        Self {
            seen,
            is_kept: true,
            store,
            read_at: None,
            jobs: BTreeMap::new(),
            pairs: Combination::new(),
            model: None,
        }
    }

    /// Reads what is known if that has changed.
    ///
    /// # Errors
    /// When it cannot be read; what was known before stays.
    pub(super) fn refresh(&mut self) -> Result<(), StoreError> {
        let changed = self.store.changed();
        if changed == self.read_at {
            return Ok(());
        }
        // What is wrong with it is said once.
        self.read_at = changed;
        self.jobs = self.store.jobs()?;
        self.pairs = self.store.pairs()?;
        self.model = self.store.model()?;
        Ok(())
    }

    /// Learns of a window who was alone and who beside whom.
    pub(super) fn learn(&mut self, window: &Seen, groups: &[Group], topology: &Topology, now: u64) {
        let cores = topology.domains.iter().flat_map(|domain| &domain.cores);
        let cores: Vec<Core> = cores.cloned().collect();
        let all = window.occupied.groups.iter();
        let (keys, ran): (Vec<&Key>, Vec<Ran>) = all.map(|(key, ran)| (key, ran.clone())).unzip();
        let job = |key: &Key| {
            let group = groups.iter().find(|group| group.key == *key);
            group.map(|group| group.job.as_str())
        };
        let found = neighbours(&cores, &window.occupied.cpus, &ran);
        for (key, neighbour) in keys.iter().zip(found) {
            let (Some(job_of_it), Some(ipc)) = (job(key), window.ipc.get(*key)) else {
                continue;
            };
            let beside = match neighbour {
                None => continue,
                Some(Neighbour::Nobody) => None,
                Some(Neighbour::Group(at)) => match keys.get(at).and_then(|key| job(key)) {
                    None => continue,
                    beside => beside,
                },
            };
            self.seen.add(job_of_it, beside, *ipc, now);
            self.is_kept = false;
        }
    }

    /// Keeps what was learnt since it was last kept.
    pub(super) fn keep(&mut self) {
        if self.is_kept {
            return;
        }
        match self.store.keep_seen(&self.seen) {
            Ok(()) => self.is_kept = true,
            Err(error) => tracing::warn!("what was seen of jobs is not kept: {error}"),
        }
    }

    /// The instructions per cycle of a job alone: as it was seen lately, else as it was measured once.
    pub(super) fn solo(&self, job: &str) -> Option<f64> {
        let seen = self.seen.solo(job, now_s());
        seen.or_else(|| Some(self.jobs.get(job)?.solo))
    }

    /// Which part of its speed a job was seen to lose beside another.
    pub(super) fn slowdown(&self, job: &str, beside: &str) -> Option<f64> {
        let speed = self.seen.beside(job, beside, now_s())? / self.solo(job)?;
        speed.is_finite().then_some(1.0 - speed)
    }

    /// How fast a job is beside another, in parts of how fast it is alone: as it was seen lately, else as it was measured once, else as
    /// the model says.
    fn speed(&self, job: &str, beside: &str) -> Option<f64> {
        let seen = || self.slowdown(job, beside).map(|slowdown| 1.0 - slowdown);
        let measured = || {
            let measured = self.pairs.get(job)?;
            let speed = measured.beside.get(beside)? / measured.single;
            speed.is_finite().then_some(speed)
        };
        let modelled = || {
            let (job, beside) = (self.jobs.get(job)?, self.jobs.get(beside)?);
            self.model.as_ref()?.compatibility(job, beside).ok()
        };
        let speed = seen().or_else(measured).or_else(modelled)?;
        Some(speed.clamp(LEAST_SPEED, 1.0))
    }

    /// What there is to place, in the domain where most workers have to share cores, or in this one; or why there is nothing.
    ///
    /// # Errors
    /// When there is nothing to choose.
    pub(super) fn situation(
        &self,
        groups: &[Group],
        is_dropped: impl Fn(&Group) -> bool,
        topology: &Topology,
        config: &Config,
        place: Option<Place>,
    ) -> Result<Found, String> {
        let mut best: Option<(u32, Found)> = None;
        let mut why = "no group may be placed".to_owned();
        for (at, domain) in topology.domains.iter().enumerate() {
            if place.is_some_and(|place| place != domain.place) {
                continue;
            }
            let members = groups.iter().filter(|group| {
                group.eligible.is_ok() && group.home == Some(at) && !is_dropped(group)
            });
            match self.of_domain(members.collect(), at, groups, domain, config) {
                Ok((workers, situation))
                    if best.as_ref().is_none_or(|(most, _)| workers > *most) =>
                {
                    let place = domain.place;
                    best = Some((workers, Found { place, situation }));
                }
                Ok(_) => {}
                Err(not) => why = not,
            }
        }
        best.map(|(_, found)| found).ok_or(why)
    }

    /// The same of one domain, with how many workers it has if it has to share cores among them.
    fn of_domain(
        &self,
        members: Vec<&Group>,
        at: usize,
        groups: &[Group],
        domain: &Domain,
        config: &Config,
    ) -> Result<(u32, Arc<Situation>), String> {
        if members.is_empty() {
            return Err("no group may be placed".to_owned());
        }
        let members = self.known_of(members);
        if members.is_empty() {
            return Err("nothing is known of the groups that may be placed".to_owned());
        }
        let workers: u32 = members.iter().map(|group| group.workers).sum();
        // Whoever is not placed runs all the same, if not somewhere else.
        let is_member = |group: &Group| members.iter().any(|member| member.key == group.key);
        let is_other =
            |group: &&Group| !is_member(group) && group.home.is_none_or(|home| home == at);
        let others: f64 = groups.iter().filter(is_other).map(|group| group.busy).sum();
        if f64::from(workers) + others > domain.cpus() as f64 {
            return Err("there are more workers than CPUs".to_owned());
        }
        let threads: Vec<usize> = domain.cores.iter().map(|core| core.cpus.len()).collect();
        let room = Room::of(
            &members
                .iter()
                .map(|group| group.workers)
                .collect::<Vec<_>>(),
            &threads,
        );
        let member = |group: &&Group| Member {
            key: group.key.clone(),
            job: group.job.clone(),
            workers: group.workers,
            weight: config.weight(&group.job),
        };
        let speed = |one: usize, other: usize| {
            self.speed(&members[one].job, &members[other].job)
                .unwrap_or(1.0)
        };
        let situation = Situation::new(
            members.iter().map(member).collect(),
            domain.cores.clone(),
            speed,
        );
        let counted = if room == Room::Open { workers } else { 0 };
        Ok((counted, Arc::new(situation)))
    }

    /// Those of which it is known how fast each is beside each, and beside itself where it has several workers: whoever is unknown to
    /// most others is left out first.
    fn known_of<'g>(&self, mut members: Vec<&'g Group>) -> Vec<&'g Group> {
        let all = members.len();
        loop {
            let unknown = |one: &&Group| {
                let others = members.iter();
                let is_unknown = |other: &&&Group| {
                    if one.key == other.key && one.workers < 2 {
                        return false;
                    }
                    self.speed(&one.job, &other.job).is_none()
                        || self.speed(&other.job, &one.job).is_none()
                };
                others.filter(is_unknown).count()
            };
            let counts: Vec<usize> = members.iter().map(unknown).collect();
            match counts.iter().zip(0..).max() {
                Some((most, at)) if *most > 0 => drop(members.remove(at)),
                // Of the last one nothing is known but that it is itself.
                _ if members.len() == 1 && all > 1 && members[0].workers < 2 => return Vec::new(),
                _ => return members,
            }
        }
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    now_us() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::CpuTime;
    use crate::usage::Occupied;

    const CPUS: u32 = 4;

    fn group(job: &str, workers: u32) -> Group {
        Group {
            key: Key::Cgroup(job.to_owned()),
            job: job.to_owned(),
            pids: vec![1],
            busy: f64::from(workers),
            workers,
            home: Some(0),
            eligible: Ok(()),
        }
    }

    fn topology() -> Topology {
        let core = |first: u32| Core {
            cpus: [first, first + 2].into(),
        };
        Topology {
            online: (0..4).collect(),
            isolated: [].into(),
            domains: vec![Domain {
                place: Place {
                    package: None,
                    node: None,
                },
                cores: vec![core(0), core(1)],
            }],
        }
    }

    /// A window in which these jobs ran on these CPUs.
    fn window(ran: &[(&str, u32, f64)]) -> Seen {
        let cpu = |cpu: u32| {
            let is_busy = ran.iter().any(|(_, on, _)| *on == cpu);
            let (busy, idle) = if is_busy { (1000, 0) } else { (0, 1000) };
            (cpu, CpuTime { busy, idle })
        };
        let key = |job: &str| Key::Cgroup(job.to_owned());
        let of = |(job, on, _): &(&str, u32, f64)| {
            let ran = Ran {
                cpus: [*on].into(),
                time: 1000,
            };
            (key(job), ran)
        };
        Seen {
            occupied: Occupied {
                cpus: (0..CPUS).map(cpu).collect(),
                groups: ran.iter().map(of).collect(),
            },
            ipc: ran.iter().map(|(job, _, ipc)| (key(job), *ipc)).collect(),
        }
    }

    #[test]
    fn once_all_pairs_were_seen_there_is_something_to_place_without_a_model() {
        let directory = tempfile::tempdir().unwrap();
        let mut known = Known::new(Store::new(directory.path()));
        let jobs = ["a", "b", "c", "d"];
        let groups: Vec<Group> = jobs.iter().map(|job| group(job, 1)).collect();
        let (topology, config) = (topology(), Config::default());
        let members = |known: &Known| {
            let found = known.situation(&groups, |_| false, &topology, &config, None);
            found.map(|found| found.situation.members.len())
        };
        assert!(members(&known).is_err());
        let mut learn = |ran: &[(&str, u32, f64)]| {
            for _ in 0..3 {
                known.learn(&window(ran), &groups, &topology, now_s());
            }
        };
        learn(&[("a", 0, 1.0), ("b", 1, 1.0)]);
        learn(&[("c", 2, 2.0), ("d", 3, 2.0)]);
        for (one, other) in [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")] {
            learn(&[(one, 0, 0.5), (other, 2, 0.5)]);
        }
        assert_eq!(members(&known), Ok(3), "c was never seen beside d");
        let mut learn = |ran: &[(&str, u32, f64)]| {
            for _ in 0..3 {
                known.learn(&window(ran), &groups, &topology, now_s());
            }
        };
        learn(&[("c", 1, 1.5), ("d", 3, 1.0)]);
        assert_eq!(members(&known), Ok(4));
        assert_eq!(known.slowdown("c", "d"), Some(0.25));
        known.keep();
        let again = Known::new(Store::new(directory.path()));
        assert_eq!(again.slowdown("d", "c"), Some(0.5));
    }
}
