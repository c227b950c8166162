//! What there is to place, and what could be tried: from groups and scores to candidates.

use std::collections::BTreeSet;

use auto_ext_service::cpu_list::Cpus;

use crate::groups::Key;
use crate::plan::{Placement, Request, Room, Scores, masks, place, plans};
use crate::topology::Core;
use crate::trial::MAX_LOSS;

/// What a group loses beyond what it may counts so many times more: where it loses much, a plan is never kept.
const UNFAIR: f64 = 2.0;
/// No job is slower than this beside another, in parts of how fast it is alone.
const LEAST_SPEED: f64 = 0.01;
/// How many candidates a trial has at most, and how many turns of candidates.
pub(super) const CANDIDATES: usize = 3;

/// A group that may be placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Which.
    pub key: Key,
    /// What is learnt of it is kept under this.
    pub job: String,
    /// How many CPUs it keeps busy.
    pub workers: u32,
    /// How much its speed counts.
    pub weight: f64,
}

/// The groups of a domain and its cores.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// The groups, of which each has scores.
    pub members: Vec<Member>,
    /// The cores.
    pub cores: Vec<Core>,
    /// What pairings are worth, by the places of the members: the sum of how many times as fast as it is found each group is
    /// then, by weight. That is what a trial measures, but that what a group must not lose counts more.
    scores: Scores,
}

/// A placement that may be better than what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Who is on which core.
    pub placement: Placement,
    /// The CPUs of each group.
    pub masks: Vec<(Key, Cpus)>,
    /// By which part it is expected to be better.
    pub predicted: f64,
}

impl Member {
    /// What one worker is worth that is so many times as fast as it was found.
    pub(super) fn worth(&self, speed: f64) -> f64 {
        let too_little = (1.0 - MAX_LOSS - speed).max(0.0);
        let workers = f64::from(self.workers.max(1));
        self.weight * (speed - UNFAIR * too_little) / workers
    }
}

impl Situation {
    /// Of groups of which `speed` says how fast the first is beside the second, in parts of how fast it is alone.
    #[must_use]
    pub fn new(
        members: Vec<Member>,
        cores: Vec<Core>,
        speed: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let all: f64 = members.iter().map(|member| f64::from(member.workers)).sum();
        let shared = shared(all, cores.len());
        let found = |one: usize| {
            let beside = members.iter().enumerate().map(|(other, member)| {
                let itself = if one == other { 1.0 } else { 0.0 };
                (f64::from(member.workers) - itself) * speed(one, other)
            });
            let beside = beside.sum::<f64>() / (all - 1.0).max(1.0);
            (1.0 - shared + shared * beside).max(LEAST_SPEED)
        };
        let found: Vec<f64> = (0..members.len()).map(found).collect();
        let worth = |one: usize, other: usize| members[one].worth(speed(one, other) / found[one]);
        let pair = |one: usize, other: usize| worth(one, other) + worth(other, one);
        let alone = |one: usize| members[one].worth(1.0 / found[one]);
        let scores = Scores::new(members.len(), pair, alone);
        Self {
            members,
            cores,
            scores,
        }
    }

    /// What pairings are worth.
    #[must_use]
    pub fn scores(&self) -> &Scores {
        &self.scores
    }

    /// How much each group's speed counts.
    pub(super) fn weights(&self) -> Vec<f64> {
        self.members.iter().map(|member| member.weight).collect()
    }

    /// Whether there is anything to choose.
    #[must_use]
    pub fn room(&self) -> Room {
        Room::of(&self.workers(), &self.threads())
    }

    /// The same groups with as many workers on the same cores; what they are worth to each other may have been learnt anew.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let is_same =
            |one: &Member, other: &Member| one.key == other.key && one.workers == other.workers;
        let members = self.members.iter().zip(&other.members);
        self.members.len() == other.members.len()
            && members.into_iter().all(|(one, other)| is_same(one, other))
            && self.cores == other.cores
    }

    /// The names of what is placed, each once.
    pub(super) fn jobs(&self) -> BTreeSet<String> {
        self.members
            .iter()
            .map(|member| member.job.clone())
            .collect()
    }

    /// What promises by these scores to be better than the kernel's choice by more than `margin`, the best first. `current` is
    /// what is there now, where that was placed.
    pub(super) fn candidates(
        &self,
        scores: &Scores,
        margin: f64,
        current: Option<&Placement>,
    ) -> Vec<Candidate> {
        let (workers, threads) = (self.workers(), self.threads());
        let request = Request {
            workers: &workers,
            threads: &threads,
            scores,
        };
        let found: f64 = self.weights().iter().sum();
        let plans = plans(request, current, CANDIDATES).into_iter();
        let candidates = plans.map(|plan| {
            let placement = place(&plan, current);
            let masks = masks(&placement, &self.cores, self.members.len());
            let keys = self.members.iter().map(|member| member.key.clone());
            Candidate {
                masks: keys.zip(masks).collect(),
                predicted: placement.total / found - 1.0,
                placement,
            }
        });
        candidates
            .filter(|candidate| candidate.predicted > margin)
            .collect()
    }

    fn workers(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.workers).collect()
    }

    fn threads(&self) -> Vec<usize> {
        self.cores.iter().map(|core| core.cpus.len()).collect()
    }
}

/// The share of so many workers that do not have a core for themselves where the kernel chooses: it takes idle cores first.
fn shared(workers: f64, cores: usize) -> f64 {
    if workers <= 0.0 {
        return 0.0;
    }
    (2.0 * (workers - cores as f64) / workers).clamp(0.0, 1.0)
}
