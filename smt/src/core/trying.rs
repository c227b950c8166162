//! A trial on its way: found, candidate, found, candidate, and so on; and what comes of it.

use std::sync::Arc;

use crate::trial::{Effect, SETTLE, TURN, Turn, effect, is_to_be_cut};

use super::event::Observed;
use super::knowledge::{Candidate, Situation};
use super::moment::Moment;

/// A trial.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trying {
    pub(super) candidates: Vec<Arc<Candidate>>,
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
        (turn % 2 == 1).then_some(turn / 2)
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
    pub(super) fn next(&mut self, weights: &[f64], now: Moment) -> Next {
        let is_over = now.saturating_sub(self.turn_began) >= Moment::from_secs(TURN);
        let before = self.turns.last().filter(|_| self.on().is_some());
        let is_bad = before.is_some_and(|before| is_to_be_cut(before, &self.turn, weights));
        if !is_over && !is_bad {
            return Next::Wait;
        }
        self.turns.push(std::mem::take(&mut self.turn));
        self.turn_began = now;
        self.delay_windows.clear();
        match self.on() {
            None => Next::Found,
            Some(at) => self
                .candidates
                .get(at)
                .cloned()
                .map_or(Next::Over, Next::Try),
        }
    }

    /// The turns of what was found around a candidate.
    pub(super) fn found_around(&self, candidate: &Arc<Candidate>) -> Option<[&Turn; 2]> {
        let is_it = |other: &Arc<Candidate>| Arc::ptr_eq(candidate, other);
        let at = self.candidates.iter().position(is_it)?;
        Some([self.turns.get(2 * at)?, self.turns.get(2 * at + 2)?])
    }

    /// What each candidate did, of which that can be said.
    pub(super) fn effects(&self, situation: &Situation) -> Vec<(Arc<Candidate>, Effect)> {
        let weights = situation.weights();
        let of = |(at, candidate): (usize, &Arc<Candidate>)| {
            let [before, tried, after] = self.turns.get(2 * at..2 * at + 3)? else {
                return None;
            };
            // One that was cut has too little to be judged by.
            let effect = effect(before, tried, after, &weights).ok()?;
            Some((candidate.clone(), effect))
        };
        self.candidates.iter().enumerate().filter_map(of).collect()
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
