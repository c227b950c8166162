//! What may not get worse: a challenger is worth it only if it wins one thing and loses none. Pure.

use auto_ext_evidence::{Effect, Verdict};

use super::comparison::{Challenger, Measured, Primary};
use super::measures::{MACHINE_USER, Measure, WAIT_P95, WAKES};
use super::turn::Turn;

/// Fewer wake-ups than these say nothing of waits: a second, and in a turn.
const FEWEST_A_SECOND: f64 = 20.0;
const FEWEST_IN_A_TURN: f64 = 100.0;
/// Waits up to this, in seconds, nobody feels, however many times as long they are.
const UNFELT: f64 = 1e-4;

/// One thing that may not get worse.
pub(super) struct Guard {
    pub(super) measure: &'static Measure,
    worse: Worse,
    /// By more than this share.
    pub(super) margin: f64,
    /// Whether so much of it, under both, is of any account in this comparison.
    counts: fn(&Challenger, &Measured) -> bool,
}

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worse {
    More,
    Less,
}

/// What became of it.
pub(super) struct Checked {
    pub(super) guard: &'static Guard,
    /// How many times as much it is under the challenger, as a logarithm.
    pub(super) change: Effect,
    pub(super) is_lost: bool,
}

/// What is to be said of a challenger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// Not enough is known.
    Open,
    /// It is better, and worth it.
    Better,
    /// It is better, but something got worse that may not.
    AtACost,
    /// It is worse.
    Worse,
    /// There is no difference worth having.
    NoDifference,
}

/// Of what takes its time or says a number: that others do not wait much longer.
static OF_COMMANDS: [Guard; 1] = [Guard {
    measure: &WAIT_P95,
    worse: Worse::More,
    margin: 0.25,
    counts: |challenger, waits| {
        let pairs = challenger.pairs.iter();
        let telling =
            pairs.filter(|pair| has_wakes(&pair.incumbent) && has_wakes(&pair.challenger));
        2 * telling.count() > challenger.pairs.len() && waits.medians.challenger > UNFELT
    },
}];

fn has_wakes(turn: &Turn) -> bool {
    let outcome = turn.machine.outcome;
    outcome.is_some_and(|outcome| {
        let a_second = outcome.wakes_per_second;
        a_second >= FEWEST_A_SECOND && a_second * turn.wall >= FEWEST_IN_A_TURN
    })
}

/// Of the load that runs, whose tasks wait less also where less gets done: that the same is done, and as many are woken.
static OF_WAITS: [Guard; 2] = [
    Guard {
        measure: &MACHINE_USER,
        worse: Worse::Less,
        margin: 0.03,
        counts: |_, _| true,
    },
    Guard {
        measure: &WAKES,
        worse: Worse::Less,
        margin: 0.05,
        counts: |_, _| true,
    },
];

/// Those of which something is known.
pub(super) fn check(primary: &Primary, challenger: &Challenger) -> Vec<Checked> {
    let guards = match primary {
        Primary::Wall | Primary::Number { .. } => &OF_COMMANDS[..],
        Primary::Waits => &OF_WAITS,
    };
    let checked = guards.iter().map(|guard| guard.check(challenger));
    checked.flatten().collect()
}

/// What is to be said, by the evidence and the guards.
pub(super) fn conclusion(primary: &Primary, challenger: &Challenger) -> Conclusion {
    match challenger.evidence.verdict() {
        Verdict::Open => Conclusion::Open,
        Verdict::Better
            if check(primary, challenger)
                .iter()
                .any(|checked| checked.is_lost) =>
        {
            Conclusion::AtACost
        }
        Verdict::Better => Conclusion::Better,
        Verdict::Worse => Conclusion::Worse,
        Verdict::NoDifference => Conclusion::NoDifference,
    }
}

impl Guard {
    fn check(&'static self, challenger: &Challenger) -> Option<Checked> {
        let measured = challenger.measured(self.measure)?;
        let change = measured.change?;
        // By more than the margin in the middle, and surely so at all: few turns differ by that much by themselves.
        let is_lost = match self.worse {
            Worse::More => {
                let is_surely = change.interval.is_some_and(|interval| interval.low > 0.0);
                is_surely && change.median > self.margin.ln_1p()
            }
            Worse::Less => {
                let is_surely = change.interval.is_some_and(|interval| interval.high < 0.0);
                is_surely && change.median < (-self.margin).ln_1p()
            }
        };
        (self.counts)(challenger, &measured).then_some(Checked {
            guard: self,
            change,
            is_lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::compare::comparison::tests::{turn, waits, with};
    use crate::cli::commands::compare::comparison::{Comparison, Turns};
    use crate::cli::commands::compare::turn::Turn;

    /// What is checked after six pairs of such turns.
    fn checked(incumbent: Turn, challenger: Turn) -> Vec<bool> {
        let mut comparison = with(&["bpfland"], &[]);
        for _ in 0..6 {
            let turns = Turns {
                incumbent,
                challenger,
            };
            comparison.add(0, turns).unwrap();
        }
        let checked = check(&Primary::Wall, &comparison.challengers[0]);
        checked.iter().map(|checked| checked.is_lost).collect()
    }

    #[test]
    fn waits_may_get_a_quarter_longer_and_no_more() {
        let of = |ns| waits(turn(1.0), ns);
        assert_eq!(checked(of(1e6), of(1.2e6)), [false]);
        assert_eq!(checked(of(1e6), of(1.3e6)), [true]);
        assert_eq!(checked(of(1e6), of(0.2e6)), [false]);
    }

    #[test]
    fn what_was_not_measured_or_nobody_feels_is_no_guard() {
        let none: [bool; 0] = [];
        let of = |ns| waits(turn(1.0), ns);
        assert_eq!(checked(turn(1.0), turn(1.0)), none);
        assert_eq!(checked(of(1e6), turn(1.0)), none);
        assert_eq!(checked(of(5e3), of(5e4)), none);
        let mut seldom = of(1e7);
        if let Some(outcome) = &mut seldom.machine.outcome {
            outcome.wakes_per_second = 5.0;
        }
        assert_eq!(checked(of(1e6), seldom), none);
        let short = Turn {
            wall: 0.05,
            ..of(1e7)
        };
        assert_eq!(checked(of(1e6), short), none);
    }

    #[test]
    fn what_is_longer_by_chance_is_not_lost() {
        let mut comparison = with(&["bpfland"], &[]);
        for ns in [5e6, 2e6, 0.9e6, 3e6, 2e6, 4e6] {
            let turns = Turns {
                incumbent: waits(turn(1.0), 1e6),
                challenger: waits(turn(1.0), ns),
            };
            comparison.add(0, turns).unwrap();
        }
        assert!(!check(&Primary::Wall, &comparison.challengers[0])[0].is_lost);
    }

    #[test]
    fn shorter_waits_where_less_is_done_are_no_win() {
        let names = ["bpfland".to_owned()];
        let of = |wakes, user| {
            let mut turn = waits(turn(15.0), 1e6);
            turn.machine.user = Some(user);
            if let Some(outcome) = &mut turn.machine.outcome {
                outcome.wakes_per_second = wakes;
            }
            turn
        };
        for (wakes, user, lost) in [
            (1000.0, 2.0, [false, false]),
            (1000.0, 1.9, [true, false]),
            (900.0, 2.0, [false, true]),
            (1200.0, 2.5, [false, false]),
        ] {
            let mut comparison = Comparison::new("kernel".into(), &names, Primary::Waits, 30, 5);
            for _ in 0..8 {
                let mut shorter = of(wakes, user);
                if let Some(waits) = shorter
                    .machine
                    .outcome
                    .as_mut()
                    .and_then(|it| it.waits.as_mut())
                {
                    waits.mean_ns = 5e5;
                }
                let turns = Turns {
                    incumbent: of(1000.0, 2.0),
                    challenger: shorter,
                };
                comparison.add(0, turns).unwrap();
            }
            let challenger = &comparison.challengers[0];
            let checked = check(&Primary::Waits, challenger);
            let are_lost: Vec<bool> = checked.iter().map(|checked| checked.is_lost).collect();
            assert_eq!(are_lost, lost);
            let expected = if lost.contains(&true) {
                Conclusion::AtACost
            } else {
                Conclusion::Better
            };
            assert_eq!(conclusion(&Primary::Waits, challenger), expected);
        }
    }
}
