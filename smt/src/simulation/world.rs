//! The machine: what jobs do to each other, and what is counted of it.

use std::sync::Arc;

use fastrand::Rng;

use crate::core::{Candidate, Member, Observed, Situation};
use crate::groups::Key;
use crate::plan::{Placement, Request, place, plans};
use crate::topology::Core;

/// By how much the model errs about how fast each job is beside each other (standard deviation).
const MODEL_ERROR: f64 = 0.05;
/// The group that loses most by the best plan is at least so many times as fast as it was found, where there is much to gain.
const FAIR: f64 = 0.97;
/// How many machines are made up at most until one gains as much as it is to.
const ATTEMPTS: usize = 1000;

/// What there is to gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// At least 5 %.
    Much,
    /// Less than half a percent.
    None,
}

/// What counters do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// They count, and are known to.
    Honest,
    /// They say anything, and nobody has noticed.
    Lying,
    /// There are none.
    Absent,
}

/// What a run is of.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How many jobs there are.
    pub jobs: usize,
    /// What there is to gain.
    pub gain: Gain,
    /// By which part what is counted in a window differs.
    pub noise: f64,
    /// How alike the noise of one window is to that of the last, from 0 to 1.
    pub correlation: f64,
    /// Whether jobs begin to do something else.
    pub phases: bool,
    /// Whether jobs come and go.
    pub comes_and_goes: bool,
    /// What counters do.
    pub counting: Counting,
    /// For how long, in hours.
    pub hours: u64,
}

impl Scenario {
    /// Eight jobs that have much to gain and stay as they are, counted honestly and with little noise, for so many hours.
    #[must_use]
    pub const fn plain(hours: u64) -> Self {
        Self {
            jobs: 8,
            gain: Gain::Much,
            noise: 0.02,
            correlation: 0.0,
            phases: false,
            comes_and_goes: false,
            counting: Counting::Honest,
            hours,
        }
    }
}

/// A job, as it is.
#[derive(Clone, Debug)]
struct Job {
    number: u32,
    solo: f64,
    workers: u32,
    /// How much it suffers, how much it makes others suffer, and what of: jobs of a kind are worse for each other.
    sensitivity: f64,
    intensity: f64,
    kind: u8,
    /// The noise of its last window.
    noise: f64,
}

/// The machine.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) chance: Rng,
    jobs: Vec<Job>,
    cores: Vec<Core>,
    strength: f64,
    next_number: u32,
}

impl World {
    /// A machine on which there is as much to gain as there is to be; `None` if chance made none.
    pub(super) fn new(scenario: Scenario, seed: u64) -> Option<Self> {
        let mut chance = Rng::with_seed(seed);
        for _ in 0..ATTEMPTS {
            let workers = |chance: &mut Rng| if chance.u8(0..5) == 0 { 2 } else { 1 };
            let jobs: Vec<Job> = (0..scenario.jobs)
                .map(|_| {
                    let workers = workers(&mut chance);
                    job(&mut chance, workers)
                })
                .collect();
            let all: u32 = jobs.iter().map(|job| job.workers).sum();
            // Full, or with some hardware threads to spare.
            let spare = if chance.bool() { 0 } else { all / 5 };
            let cores = (all + spare).div_ceil(2).min(all - 1);
            let cores = (0..cores).map(|core| Core {
                cpus: [core, core + cores].into(),
            });
            let strength = match scenario.gain {
                Gain::Much => 0.2 + 0.8 * chance.f64(),
                Gain::None => 0.02 * chance.f64(),
            };
            let mut world = Self {
                scenario,
                cores: cores.collect(),
                strength,
                next_number: 0,
                chance: chance.fork(),
                jobs,
            };
            for at in 0..world.jobs.len() {
                world.jobs[at].number = world.number();
            }
            let (best, worst) = world.most_to_gain();
            let is_wanted = match scenario.gain {
                // What slows a group too much is not to be adopted, whatever all gain.
                Gain::Much => (0.05..0.12).contains(&best) && worst > FAIR,
                Gain::None => best < 0.005,
            };
            if is_wanted {
                return Some(world);
            }
        }
        None
    }

    fn number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number
    }

    /// Which part of its speed one job loses beside another.
    fn loss(&self, one: &Job, other: &Job) -> f64 {
        let alike = if one.kind == other.kind { 1.0 } else { 0.25 };
        let base = 0.15;
        base + self.strength * 0.6 * one.sensitivity * other.intensity * alike
    }

    /// The groups and their cores, as far as each speed is known but for an error.
    fn known(&self, mut error: impl FnMut() -> f64) -> Situation {
        let errors: Vec<f64> = (0..self.jobs.len() * self.jobs.len())
            .map(|_| error())
            .collect();
        let member = |job: &Job| Member {
            key: Key::ProcessGroup(job.number),
            job: format!("job {}", job.number),
            workers: job.workers,
            weight: 1.0,
        };
        let speed = |one: usize, other: usize| {
            let right = 1.0 - self.loss(&self.jobs[one], &self.jobs[other]);
            right * (1.0 + errors[one * self.jobs.len() + other])
        };
        let members = self.jobs.iter().map(member).collect();
        Situation::new(members, self.cores.clone(), speed)
    }

    /// What the best plan gains that is made with the truth, and how many times as fast the group is that loses most by it.
    fn most_to_gain(&self) -> (f64, f64) {
        let known = self.known(|| 0.0);
        let workers: Vec<u32> = self.jobs.iter().map(|job| job.workers).collect();
        let threads = vec![2; self.cores.len()];
        let request = Request {
            workers: &workers,
            threads: &threads,
            scores: known.scores(),
        };
        let best = plans(request, None, 1).into_iter().next();
        best.map_or((0.0, 1.0), |plan| {
            let placement = place(&plan, None);
            let worst = self
                .ratios(&placement)
                .into_iter()
                .fold(f64::INFINITY, f64::min);
            (self.gain(&placement), worst)
        })
    }

    /// What the daemon knows of it, with a model that errs.
    pub(super) fn situation(&mut self) -> Arc<Situation> {
        let mut chance = self.chance.fork();
        Arc::new(self.known(|| MODEL_ERROR * normal(&mut chance)))
    }

    /// How fast each job is where the kernel chooses: some share a core with whoever it is.
    fn found(&self) -> Vec<f64> {
        let all: f64 = self.jobs.iter().map(|job| f64::from(job.workers)).sum();
        let shared = 2.0 * (all - self.cores.len() as f64) / all;
        let of = |one: &Job| {
            let lost = self.jobs.iter().map(|other| {
                let itself = if one.number == other.number { 1.0 } else { 0.0 };
                (f64::from(other.workers) - itself) * self.loss(one, other)
            });
            let lost = lost.sum::<f64>() / (all - 1.0);
            one.solo * (1.0 - shared * lost)
        };
        self.jobs.iter().map(of).collect()
    }

    /// How fast each job is in a placement.
    fn placed(&self, placement: &Placement) -> Vec<f64> {
        let mut speeds = vec![0.0; self.jobs.len()];
        for core in &placement.cores {
            for (at, one) in core.iter().enumerate() {
                let Some(job) = one.and_then(|one| self.jobs.get(one)) else {
                    continue;
                };
                let others = core.iter().enumerate().filter(|(other, _)| *other != at);
                let lost: f64 = others
                    .filter_map(|(_, other)| self.jobs.get((*other)?))
                    .map(|other| self.loss(job, other))
                    .sum();
                if let Some(place) = one.and_then(|one| speeds.get_mut(one)) {
                    *place += job.solo * (1.0 - lost) / f64::from(job.workers);
                }
            }
        }
        speeds
    }

    /// How many times as fast each group is in a placement as it was found.
    fn ratios(&self, placement: &Placement) -> Vec<f64> {
        let found = self.found();
        let placed = self.placed(placement);
        placed
            .iter()
            .zip(found)
            .map(|(placed, found)| placed / found)
            .collect()
    }

    /// By which part a placement is better than what was found.
    pub(super) fn gain(&self, placement: &Placement) -> f64 {
        let ratios = self.ratios(placement);
        ratios.iter().sum::<f64>() / ratios.len() as f64 - 1.0
    }

    /// What is counted in the next window.
    pub(super) fn count(&mut self, placement: Option<&Placement>) -> Observed {
        let speeds = placement.map_or_else(|| self.found(), |placement| self.placed(placement));
        let Scenario {
            noise, correlation, ..
        } = self.scenario;
        let is_lying = self.scenario.counting == Counting::Lying;
        let mut observed = Observed::default();
        for (job, speed) in self.jobs.iter_mut().zip(speeds) {
            let new = (1.0 - correlation * correlation).sqrt() * normal(&mut self.chance);
            job.noise = correlation * job.noise + new;
            let speed = if is_lying {
                0.1 + self.chance.f64()
            } else {
                speed * (1.0 + noise * job.noise).max(0.01)
            };
            observed.speeds.push(Some(speed));
            observed.delays.push(Some(0.05 + 0.01 * self.chance.f64()));
        }
        observed
    }

    /// A job begins to do something else, which is seen in its speed.
    pub(super) fn change(&mut self) {
        let at = self.chance.usize(0..self.jobs.len());
        let faster = if self.chance.bool() { 1.3 } else { 0.75 };
        let mut chance = self.chance.fork();
        let old = &self.jobs[at];
        self.jobs[at] = Job {
            number: old.number,
            solo: old.solo * faster,
            noise: old.noise,
            ..job(&mut chance, old.workers)
        };
    }

    /// A job ends and another one begins.
    pub(super) fn replace(&mut self) {
        let at = self.chance.usize(0..self.jobs.len());
        let mut chance = self.chance.fork();
        let workers = self.jobs[at].workers;
        let number = self.number();
        self.jobs[at] = Job {
            number,
            ..job(&mut chance, workers)
        };
    }

    /// Whether such a candidate keeps every worker on a hardware thread of its own.
    pub(super) fn fits(&self, candidate: &Candidate) -> bool {
        let slots = candidate.placement.cores.iter().flatten().flatten();
        let all: u32 = self.jobs.iter().map(|job| job.workers).sum();
        slots.count() == all as usize && candidate.masks.iter().all(|(_, mask)| mask.len() >= 2)
    }
}

fn job(chance: &mut Rng, workers: u32) -> Job {
    Job {
        number: 0,
        solo: 0.4 + 2.0 * chance.f64(),
        workers,
        sensitivity: 0.3 + 0.7 * chance.f64(),
        intensity: 0.3 + 0.7 * chance.f64(),
        kind: chance.u8(0..2),
        noise: normal(chance),
    }
}

/// Normally distributed.
fn normal(chance: &mut Rng) -> f64 {
    let (a, b): (f64, f64) = (1.0 - chance.f64(), chance.f64());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}
