//! What is known of jobs, and what there is to place by it: from groups to a situation that can be decided about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Config;
use crate::core::{Member, Situation};
use crate::groups::Group;
use crate::model::{Combination, Job, SlowdownModel};
use crate::plan::Room;
use crate::store::{Store, StoreError};
use crate::topology::{Domain, Place, Topology};

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
}

/// What there is to place, and where.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) situation: Arc<Situation>,
}

impl Known {
    pub(super) fn new(store: Store) -> Self {
        Self {
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

    /// How fast a job is beside another, in parts of how fast it is alone: as it was measured, else as the model says.
    fn speed(&self, job: &str, beside: &str) -> Option<f64> {
        let measured = self.pairs.get(job).and_then(|measured| {
            let speed = measured.beside.get(beside)? / measured.single;
            speed.is_finite().then_some(speed)
        });
        let modelled = || {
            let (job, beside) = (self.jobs.get(job)?, self.jobs.get(beside)?);
            self.model.as_ref()?.compatibility(job, beside).ok()
        };
        let speed = measured.or_else(modelled)?;
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

    /// Those of which it is known how fast each is beside each: whoever is unknown to most others is left out first.
    fn known_of<'g>(&self, mut members: Vec<&'g Group>) -> Vec<&'g Group> {
        loop {
            let unknown = |one: &&Group| {
                let others = members.iter();
                let is_unknown = |other: &&&Group| {
                    self.speed(&one.job, &other.job).is_none()
                        || self.speed(&other.job, &one.job).is_none()
                };
                others.filter(is_unknown).count()
            };
            let counts: Vec<usize> = members.iter().map(unknown).collect();
            match counts.iter().zip(0..).max() {
                Some((most, at)) if *most > 0 => drop(members.remove(at)),
                _ => return members,
            }
        }
    }
}
