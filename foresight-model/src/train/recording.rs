//! What is learned from, as it was recorded.

use crate::samples::{BurstSample, MoveSample, Sample};

/// What one file has.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Bursts.
    pub bursts: Vec<BurstSample>,
    /// Moves.
    pub moves: Vec<MoveSample>,
}

impl Recording {
    /// Adds a sample.
    pub fn add(&mut self, sample: Sample) {
        match sample {
            Sample::Burst(burst) => self.bursts.push(burst),
            Sample::Move(considered) => self.moves.push(considered),
        }
    }
}
