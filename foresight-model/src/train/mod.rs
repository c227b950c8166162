//! From samples to a model, with a report of how it does on what came after. What loses to the incumbent is refused. Owns which
//! samples are learned from and which are held out; [`crate::line`], [`crate::mlp`] and [`crate::value`] do the work.

mod bursts;
mod lost;
mod moves;
mod recording;
mod report;
mod reservoir;

use crate::file::{Model, Moves};
use crate::origin::Origin;
use crate::quantise::Quantised;
use crate::samples::MoveSample;

pub use bursts::BurstReport;
pub use lost::{Lost, MIN_AGREEMENT, MIN_HELD_OUT};
pub use moves::{Learned, MoveReport, Teacher, beside_always_moving, train_moves};
pub use recording::Recording;
pub use report::Report;
pub use reservoir::Reservoir;

/// What was learned, and how it does.
#[derive(Clone, Debug)]
pub struct Trained {
    /// How it does.
    pub report: Report,
    programs: bursts::Bursts,
    moves: Option<Moves>,
    origin: Origin,
}

/// Nothing that was learned is any better than what there is.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// There was nothing to learn from.
    #[error("there is nothing to learn from")]
    Nothing,
    /// All of it lost.
    #[error("no model is written, as it would be no better: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Lost(Vec<Lost>),
}

/// Learns from recordings, in the order in which they were made. Moves are compared with what `incumbent` says; without, with
/// always moving.
#[must_use]
pub fn train(
    recordings: &[Recording],
    origin: Origin,
    teacher: Teacher,
    incumbent: Option<&Quantised>,
    seed: u64,
) -> Trained {
    let programs = bursts::Bursts::learn(recordings);
    let mut all: Vec<MoveSample> = Vec::new();
    for recording in recordings {
        let begin = all.len();
        all.extend_from_slice(&recording.moves);
        all[begin..].sort_by_key(|considered| considered.at_ns);
    }
    let learned = train_moves(&all, teacher, incumbent, seed);
    let report = Report {
        bursts: programs.report.clone(),
        moves: learned.as_ref().map(|learned| learned.report.clone()),
    };
    Trained {
        report,
        programs,
        moves: learned.and_then(|learned| learned.moves),
        origin,
    }
}

impl Trained {
    /// The model of what won; with `force` all of it, not to be acted on before it wins.
    ///
    /// # Errors
    /// When nothing won.
    pub fn accept(self, force: bool) -> Result<Model, Refused> {
        let lost = self.report.lost();
        let [bursts, moves] = [
            self.report
                .bursts
                .as_ref()
                .is_some_and(|r| r.lost().is_none()),
            self.report
                .moves
                .as_ref()
                .is_some_and(|r| r.lost().is_none()),
        ];
        if self.report.bursts.is_none() && self.report.moves.is_none() {
            return Err(Refused::Nothing);
        }
        if !force && !bursts && !moves {
            return Err(Refused::Lost(lost));
        }
        let mut model = Model {
            origin: self.origin,
            shadow_only: !lost.is_empty() && force,
            ..Model::default()
        };
        if bursts || force {
            model.programs = self.programs.groups();
        }
        if moves || force {
            model.moves = self.moves;
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests;
