//! What is told of what was learned.

use std::fmt;

use super::bursts::BurstReport;
use super::lost::Lost;
use super::moves::MoveReport;
use crate::score::Score;

/// How each kind does.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Bursts, if there were any.
    pub bursts: Option<BurstReport>,
    /// Moves, if there were any.
    pub moves: Option<MoveReport>,
}

impl Report {
    /// How each kind that lost did.
    #[must_use]
    pub fn lost(&self) -> Vec<Lost> {
        let bursts = self.bursts.as_ref().and_then(BurstReport::lost);
        let moves = self.moves.as_ref().and_then(MoveReport::lost);
        bursts.into_iter().chain(moves).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bursts) = &self.bursts {
            writeln!(f, "{bursts}")?;
        }
        if let Some(moves) = &self.moves {
            writeln!(f, "{moves}")?;
        }
        for lost in self.lost() {
            writeln!(f, "lost: {lost}")?;
        }
        Ok(())
    }
}

impl fmt::Display for BurstReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "bursts: {}, of which the last {} were held out (log2 of ns)",
            self.bursts, self.scores.bursts
        )?;
        writeln!(f, "  last burst  {}", words(&self.scores.last))?;
        writeln!(f, "  average     {}", words(&self.scores.average))?;
        let used = self.scores.used * 100.0;
        let lines = words(&self.scores.predicted);
        writeln!(f, "  lines       {lines}, used for {used:.0} %")?;
        write!(
            f,
            "  tasks worse off by lines: {} of {}, the worst {:.2} times the average's error",
            self.worse, self.tasks, self.worst
        )
    }
}

impl fmt::Display for MoveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "moves: {}, of which the last {} were held out",
            self.moves, self.held_out
        )?;
        match &self.worth {
            Some(worth) => writeln!(
                f,
                "  worth {:+.4} ms a move more than the incumbent's {:.4}, at least {:+.4} for sure; differs in {:.1} %",
                worth.gain,
                worth.incumbent,
                worth.low,
                worth.differ * 100.0
            )?,
            None => writeln!(f, "  worth unknown: too little was tried by chance")?,
        }
        write!(
            f,
            "  as the rule with prices in {:.1} %, integers as floating point in {:.2} %",
            self.as_rule * 100.0,
            self.agreement * 100.0
        )
    }
}

fn words(score: &Score) -> String {
    let r2 = score
        .r2
        .map_or("unknown".to_owned(), |r2| format!("{r2:.3}"));
    format!("R2 {r2}, mean error {:.3}", score.mae)
}
