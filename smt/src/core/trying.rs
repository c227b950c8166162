//! A trial on its way: found, candidate, found, candidate, and so on; and what comes of it. Where there are fewer candidates than
//! a trial may have turns for, the best is tried again as long as it seems to be better but that is not sure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::trial::{Effect, SETTLE, TURN, Turn, effect, is_to_be_cut};

use super::event::Observed;
use super::knowledge::{CANDIDATES, Candidate};
use super::moment::Moment;

/// A trial.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trying {
    pub(super) candidates: Vec<Arc<Candidate>>,
    /// Which candidate has the first turn of candidates, which one the second, and so on.
    order: Vec<usize>,
    /// What was counted in the turns that ended, beginning with what was found.
    turns: Vec<Turn>,
    /// The turn that is under way.
    turn: Turn,
    pub(super) turn_began: Moment,
    /// How many windows of this turn waits were counted in, by group.
    delay_windows: Vec<u32>,
}

/// What a trial wants next.
pub(super) enum Next {
    /// The turn goes on.
    Wait,
    /// What was found comes back, for a turn.
    Found,
    /// This candidate has its turn.
    Try(Arc<Candidate>),
    /// It is over.
    Over,
}

impl Trying {
    pub(super) fn new(candidates: Vec<Candidate>, now: Moment) -> Self {
        Self {
            order: (0..candidates.len()).collect(),
            candidates: candidates.into_iter().map(Arc::new).collect(),
            turns: Vec::new(),
            turn: Turn::default(),
            turn_began: now,
            delay_windows: Vec::new(),
        }
    }

    /// Which candidate has its turn; `None`: what was found.
    pub(super) fn on(&self) -> Option<usize> {
        let turn = self.turns.len();
        let of_candidates = (turn % 2 == 1).then_some(turn / 2)?;
        self.order.get(of_candidates).copied()
    }

    /// Takes a window into account that ended now.
    pub(super) fn add(&mut self, observed: Observed, now: Moment) {
        // What began before the turn had settled is left out.
        let settled = Moment::from_secs(SETTLE + crate::trial::WINDOW);
        if now.saturating_sub(self.turn_began) >= settled {
            add_to(&mut self.turn, &mut self.delay_windows, observed);
        }
    }

    /// What follows now.
    pub(super) fn next(&mut self, weights: &[f64], margin: f64, now: Moment) -> Next {
        let is_over = now.saturating_sub(self.turn_began) >= Moment::from_secs(TURN);
        let before = self.turns.last().filter(|_| self.on().is_some());
        let is_bad = before.is_some_and(|before| is_to_be_cut(before, &self.turn, weights));
        if !is_over && !is_bad {
            return Next::Wait;
        }
        self.turns.push(std::mem::take(&mut self.turn));
        self.turn_began = now;
        self.delay_windows.clear();
        let turn = self.turns.len();
        if turn.is_multiple_of(2) {
            return Next::Found;
        }
        if turn / 2 == self.order.len() {
            self.order.extend(self.again(weights, margin));
        }
        let candidate = self.on().and_then(|at| self.candidates.get(at));
        candidate.cloned().map_or(Next::Over, Next::Try)
    }

    /// Which candidate is tried again.
    fn again(&self, weights: &[f64], margin: f64) -> Option<usize> {
        if self.order.len() >= CANDIDATES {
            return None;
        }
        let effects = self.effects_by_place(weights);
        if effects.iter().any(|(_, effect)| effect.is_better(margin)) {
            return None;
        }
        let promising = effects
            .into_iter()
            .filter(|(_, effect)| effect.gain > margin && effect.harm.is_none());
        let best = promising.max_by(|(_, one), (_, other)| one.gain.total_cmp(&other.gain));
        best.map(|(at, _)| at)
    }

    /// The turns of what was found around those of a candidate.
    pub(super) fn found_around(&self, candidate: &Arc<Candidate>) -> Vec<&Turn> {
        let is_it = |other: &Arc<Candidate>| Arc::ptr_eq(candidate, other);
        let Some(at) = self.candidates.iter().position(is_it) else {
            return Vec::new();
        };
        let tried = self.turns_of(at);
        let found = tried.iter().flat_map(|turn| [turn - 1, turn + 1]);
        let found: BTreeSet<usize> = found.collect();
        found.iter().filter_map(|at| self.turns.get(*at)).collect()
    }

    /// The places of the turns of a candidate.
    fn turns_of(&self, candidate: usize) -> Vec<usize> {
        let order = self.order.iter().enumerate();
        order
            .filter(|(_, of)| **of == candidate)
            .map(|(turn, _)| 2 * turn + 1)
            .collect()
    }

    /// What each candidate did, of which that can be said.
    pub(super) fn effects(&self, weights: &[f64]) -> Vec<(Arc<Candidate>, Effect)> {
        let effects = self.effects_by_place(weights).into_iter();
        effects
            .filter_map(|(at, effect)| Some((self.candidates.get(at)?.clone(), effect)))
            .collect()
    }

    /// One that was cut has too little to be judged by.
    fn effects_by_place(&self, weights: &[f64]) -> Vec<(usize, Effect)> {
        let of = |at| Some((at, effect(&self.turns, &self.turns_of(at), weights).ok()?));
        (0..self.candidates.len()).filter_map(of).collect()
    }
}

/// Adds a window to a turn, and to the mean of the waits.
pub(super) fn add_to(turn: &mut Turn, counted: &mut Vec<u32>, observed: Observed) {
    let groups = observed.delays.len();
    turn.delays.resize(groups, None);
    counted.resize(groups, 0);
    for ((mean, counted), delay) in turn.delays.iter_mut().zip(counted).zip(observed.delays) {
        if let Some(delay) = delay {
            *counted += 1;
            let before = mean.unwrap_or(0.0);
            *mean = Some(before + (delay - before) / f64::from(*counted));
        }
    }
    turn.speeds.push(observed.speeds);
}
