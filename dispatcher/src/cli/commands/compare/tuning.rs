//! Which arguments suit a scheduler best: rounds in which each set that is left has a turn, until one is left. How good that one
//! is, the pairs tell that follow.

use std::time::Instant;

use anyhow::anyhow;
use auto_ext_evidence::{Halving, Standing};
use auto_ext_service::exit_code::{Code, WithCode};

use super::contender::Contender;
use super::csv::Row;
use super::end::End;
use super::leased::CannotRun;
use super::session::{Session, progress};
use super::turn::Turn;
use crate::cli::commands::grant::warn;

/// The sets of arguments, and what is known of them.
#[derive(Debug)]
pub(super) struct Tuning {
    sets: Vec<Contender>,
    halving: Halving,
}

impl Tuning {
    /// Nothing is known yet.
    pub(super) fn new(sets: Vec<Contender>, halving: Halving) -> Self {
        Self { sets, halving }
    }

    /// What is known of each set, the best first.
    pub(super) fn standings(&self) -> Vec<(&Contender, Standing)> {
        let standings = self.halving.standings();
        let mut all: Vec<_> = self.sets.iter().zip(standings).collect();
        let score = |standing: &Standing| standing.score.unwrap_or(f64::NEG_INFINITY);
        let order = |standing: &Standing| (standing.is_left, standing.rounds);
        // Those that went on further were better in the rounds that they had in common.
        all.sort_by(|(_, a), (_, b)| {
            let later = order(b).cmp(&order(a));
            later.then(score(b).total_cmp(&score(a)))
        });
        all
    }

    /// The set that is left, once there is but one.
    fn winner(&self) -> Option<&Contender> {
        match self.halving.left() {
            [winner] => self.sets.get(*winner),
            _ => None,
        }
    }
}

/// Has one set left, which is then what `session` compares.
pub(super) async fn tune(session: &mut Session<'_>, tuning: &mut Tuning) -> Result<(), End> {
    session.begin_tuning(tuning.halving.turns()).await?;
    let begun = Instant::now();
    let mut rounds = 0;
    while let Some(order) = tuning.halving.next_round() {
        if rounds > 0 && !session.has_time_for(begun.elapsed() / rounds) {
            return Err(End::Time);
        }
        round(session, tuning, &order).await?;
        rounds += 1;
        let left = tuning.halving.left().len();
        progress(&format!(
            "round {rounds}: {left} sets of arguments are left"
        ));
    }
    let winner = tuning.winner().cloned();
    let winner = winner.ok_or_else(|| anyhow!("with no set of arguments it runs"))?;
    progress(&format!(
        "{winner} is left, and is compared in pairs of its own"
    ));
    session.compare_with(winner);
    Ok(())
}

/// A turn for each of these.
async fn round(session: &mut Session<'_>, tuning: &mut Tuning, order: &[usize]) -> Result<(), End> {
    let mut measured = Vec::new();
    let mut turns: Vec<(String, Option<Turn>)> = Vec::new();
    for set in order {
        let Some(contender) = tuning.sets.get(*set).cloned() else {
            continue;
        };
        let turn = match session.turn(&contender).await {
            Ok(turn) => turn,
            Err(End::Failed(error)) if is_its_own(&error) => {
                warn(&format!("{contender} is out: {error:#}"));
                tuning.halving.remove(*set);
                continue;
            }
            Err(end) => return Err(end),
        };
        if let Err(why) = &turn {
            warn(&format!("a turn of {contender} counts as its worst: {why}"));
        }
        let turn = turn.ok();
        let number = turn
            .as_ref()
            .map(|turn| session.comparison.primary.of(turn));
        measured.push((*set, number));
        turns.push((contender.to_string(), turn));
    }
    let rows: Vec<Row<'_>> = turns
        .iter()
        .map(|(scheduler, turn)| Row {
            scheduler,
            turn: *turn,
        })
        .collect();
    // A round is of no one challenger.
    session.write_rows("", &rows, None);
    if let Err(why) = tuning.halving.add(&measured) {
        return Err(anyhow!("a round cannot be judged: {why}").into());
    }
    Ok(())
}

/// Whether a scheduler that does not run is to blame for it, and not the daemon or a limit.
fn is_its_own(error: &anyhow::Error) -> bool {
    // Without a daemon nobody else is.
    let coded = error.downcast_ref::<WithCode>();
    error.is::<CannotRun>()
        || coded.is_some_and(|error| error.code == Code::Failed && !error.is_for_now)
}

#[cfg(test)]
pub(super) mod tests {
    use auto_ext_evidence::Better;

    use super::*;

    /// Four sets after their elimination, of which the third takes least time and the last never runs.
    pub(in super::super) fn tuned() -> Tuning {
        let set = |number: &str| Contender {
            scheduler: "bpfland".to_owned(),
            args: vec!["-s".to_owned(), number.to_owned()],
        };
        let sets = ["5000", "10000", "20000", "fast"].map(set).to_vec();
        let mut halving = Halving::new(1, sets.len(), Better::Lower);
        halving.remove(3);
        while let Some(order) = halving.next_round() {
            let time = |set: usize| Some([1.1, 1.05, 0.9, 9.9][set]);
            let round: Vec<_> = order.into_iter().map(|set| (set, time(set))).collect();
            halving.add(&round).unwrap();
        }
        Tuning::new(sets, halving)
    }

    #[test]
    fn the_best_set_is_first_and_what_does_not_run_last() {
        let tuning = tuned();
        let standings = tuning.standings();
        let names: Vec<String> = standings.iter().map(|(set, _)| set.to_string()).collect();
        let expected = [
            "bpfland -s 20000",
            "bpfland -s 10000",
            "bpfland -s 5000",
            "bpfland -s fast",
        ];
        assert_eq!(names, expected);
        assert_eq!(tuning.winner(), Some(standings[0].0));
        assert_eq!(standings[3].1.score, None);
    }

    #[test]
    fn a_limit_that_is_reached_is_no_fault_of_a_scheduler() {
        let failed = WithCode::error(Code::Failed, "it crashed").context("bpfland does not run");
        assert!(is_its_own(&failed));
        let pinned = || WithCode::for_now(Code::Failed, "pinned: kernel").context("a does not run");
        assert!(!is_its_own(&pinned()));
        let quarantined = pinned().context(CannotRun::of("a"));
        assert!(is_its_own(&quarantined));
        assert!(!is_its_own(&anyhow!("the limit is reached")));
        assert!(!is_its_own(&WithCode::error(Code::NoDaemon, "gone")));
    }
}
