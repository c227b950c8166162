//! A placement that was adopted: whether it proves so, and whether what was proven still holds.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::trial::{Effect, Turn};

use super::event::Observed;
use super::knowledge::Candidate;
use super::moment::Moment;

/// So long a placement has to prove what the trial said, and what part of it.
const PROOF: u64 = 60;
const PROVEN: f64 = 0.5;
/// How many windows what is there now is the mean of.
const RECENT: usize = 15;
/// Who gains less than this over what was found has lost by it, as far as a few windows tell.
const LOST: f64 = -0.01;
/// A group whose speed is so different from what is known of it does something else now, unless that is no more than this many
/// times what its windows differ by anyway.
const OTHER: f64 = 0.05;
const SPREADS: f64 = 2.0;
/// Until it is proven that is what the trial counted, which has fewer windows: so many times as much tells.
const UNPROVEN: f64 = 2.0;
/// How often a window may lack counters before nothing is believed.
const MAX_BLIND: usize = 10;

/// A placement that was adopted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adopted {
    pub(super) candidate: Arc<Candidate>,
    pub(super) since: Moment,
    /// What the trial says that is gained.
    pub(super) gain: f64,
    /// How fast each group was as it was found.
    found: Vec<f64>,
    weights: Vec<f64>,
    /// How fast each was in the trial, once it is proven in its proof, and how much its windows differed.
    known: Vec<(f64, f64)>,
    is_proven: bool,
    recent: VecDeque<Vec<Option<f64>>>,
    /// How many windows in a row nothing was counted.
    blind: usize,
    /// All windows of the proof.
    sums: Vec<Sum>,
}

/// Speeds of a group, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    count: u32,
    sum: f64,
    squares: f64,
}

/// Why a placement is taken back.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Doubt {
    /// It is not as good as the trial said.
    Unproven(f64),
    /// It is no better any more.
    Lost(f64),
    /// A group does something else than when it was proven.
    Changed(usize),
    /// Nothing is counted any more.
    Blind,
}

impl Adopted {
    pub(super) fn new(
        candidate: Arc<Candidate>,
        effect: &Effect,
        found: &[&Turn],
        weights: Vec<f64>,
        now: Moment,
    ) -> Self {
        let mut sums = vec![Sum::default(); weights.len()];
        for window in found.iter().flat_map(|turn| &turn.speeds) {
            add(&mut sums, window);
        }
        let known = sums.iter().zip(&effect.speeds);
        let known = known.map(|(sum, faster)| (sum.mean() * faster, sum.spread()));
        Self {
            candidate,
            since: now,
            gain: effect.gain,
            found: means(&sums),
            known: known.collect(),
            is_proven: false,
            recent: VecDeque::new(),
            blind: 0,
            sums: vec![Sum::default(); weights.len()],
            weights,
        }
    }

    /// Whether it has proven what the trial said.
    pub(super) fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Takes a window into account, and says what is wrong.
    pub(super) fn add(&mut self, observed: Observed, now: Moment) -> Option<Doubt> {
        let age = now.saturating_sub(self.since);
        if age < Moment::from_secs(crate::trial::SETTLE + crate::trial::WINDOW) {
            return None;
        }
        let is_blind = observed.speeds.iter().all(Option::is_none);
        self.blind = if is_blind { self.blind + 1 } else { 0 };
        if self.blind >= MAX_BLIND {
            return Some(Doubt::Blind);
        }
        if !self.is_proven {
            add(&mut self.sums, &observed.speeds);
        }
        self.recent.push_back(observed.speeds);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        if !self.is_proven && age >= Moment::from_secs(PROOF) {
            let gain = self.gain_of(&means(&self.sums));
            if gain < self.gain * PROVEN {
                return Some(Doubt::Unproven(gain));
            }
            self.is_proven = true;
            let sums = self.sums.iter();
            self.known = sums.map(|sum| (sum.mean(), sum.spread())).collect();
        }
        self.doubt()
    }

    /// What is wrong with the last windows.
    fn doubt(&self) -> Option<Doubt> {
        if self.recent.len() < RECENT {
            return None;
        }
        let mut sums = vec![Sum::default(); self.weights.len()];
        for window in &self.recent {
            add(&mut sums, window);
        }
        let now = means(&sums);
        let gain = self.gain_of(&now);
        if gain < LOST {
            return Some(Doubt::Lost(gain));
        }
        let mut groups = self.known.iter().zip(&now);
        let times = if self.is_proven { 1.0 } else { UNPROVEN };
        let is_other = |((known, spread), now): (&(f64, f64), &f64)| {
            let differs = (now - known).abs();
            *known > 0.0 && *now > 0.0 && differs > times * (OTHER * known).max(SPREADS * spread)
        };
        groups.position(is_other).map(Doubt::Changed)
    }

    /// What such speeds gain over what was found.
    fn gain_of(&self, speeds: &[f64]) -> f64 {
        let groups = self.found.iter().zip(speeds).zip(&self.weights);
        let known = groups.filter(|((found, speed), _)| **found > 0.0 && **speed > 0.0);
        let (sum, weight) = known.fold((0.0, 0.0), |(sum, all), ((found, speed), weight)| {
            (sum + weight * speed / found, all + weight)
        });
        if weight > 0.0 {
            sum / weight - 1.0
        } else {
            0.0
        }
    }
}

impl Sum {
    /// 0 of what was never counted.
    fn mean(self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }

    fn spread(self) -> f64 {
        let variance = self.squares / f64::from(self.count.max(1)) - self.mean().powi(2);
        variance.max(0.0).sqrt()
    }
}

fn add(sums: &mut [Sum], window: &[Option<f64>]) {
    for (sum, speed) in sums.iter_mut().zip(window) {
        if let Some(speed) = speed {
            sum.count += 1;
            sum.sum += speed;
            sum.squares += speed * speed;
        }
    }
}

fn means(sums: &[Sum]) -> Vec<f64> {
    sums.iter().map(|sum| sum.mean()).collect()
}
