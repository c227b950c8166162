//! What may not get worse: a challenger is worth it only if it wins one thing and loses none. Pure.

use auto_ext_evidence::{Effect, Verdict};

use super::comparison::{Challenger, Measured, Primary};
use super::measures::{
    CANARY_P99, INSTRUCTIONS, LONGEST_WAIT, MACHINE_USER, Measure, WAIT_P95, WAKES, WALL,
};
use super::turn::Turn;

/// Fewer wake-ups than these say nothing of waits: a second, and in a turn.
const FEWEST_A_SECOND: f64 = 20.0;
const FEWEST_IN_A_TURN: f64 = 100.0;
/// Waits up to this, in seconds, nobody feels, however many times as long they are.
const UNFELT: f64 = 1e-4;
/// A wait up to this, in seconds, is no starvation.
const NO_STARVATION: f64 = 1.0;

/// One thing that may not get worse.
pub(super) struct Guard {
    pub(super) measure: &'static Measure,
    worse: Worse,
    /// By more than this share.
    pub(super) margin: f64,
    /// Whether so much of it, under both, is of any account in this comparison.
    counts: fn(&Challenger, &Measured) -> bool,
}

/// Which way is worse, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Worse {
    More,
    Less,
    /// More in the worst turn than in the worst of the incumbent, if it is more than this at all.
    Once {
        above: f64,
    },
}

/// What became of it.
pub(super) struct Checked {
    pub(super) guard: &'static Guard,
    /// How many times as much it is under the challenger, as a logarithm; `None` where it was 0 in a turn.
    pub(super) change: Option<Effect>,
    pub(super) is_lost: bool,
    /// The most in a turn of the challenger, where one suffices.
    pub(super) once: Option<f64>,
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

/// That others do not wait much longer.
static WAITS: Guard = Guard {
    measure: &WAIT_P95,
    worse: Worse::More,
    margin: 0.25,
    counts: |challenger, waits| is_felt(challenger, waits, has_wakes),
};
/// That who wants the same of both, whatever the load does, does not.
static CANARY: Guard = Guard {
    measure: &CANARY_P99,
    worse: Worse::More,
    margin: 1.0,
    counts: |challenger, waits| is_felt(challenger, waits, canary_has_wakes),
};
/// That nobody starves.
static STARVATION: Guard = Guard {
    measure: &LONGEST_WAIT,
    worse: Worse::Once {
        above: NO_STARVATION,
    },
    margin: 4.0,
    counts: |_, _| true,
};
/// That the same is done: by instructions, or where they are not counted by CPU time.
static DONE: Guard = Guard {
    measure: &INSTRUCTIONS,
    worse: Worse::Less,
    margin: 0.03,
    counts: |_, _| true,
};
static TIME_IN_PROGRAMS: Guard = Guard {
    measure: &MACHINE_USER,
    worse: Worse::Less,
    margin: 0.03,
    counts: |challenger, _| challenger.measured(&INSTRUCTIONS).is_none(),
};
/// That as many are woken: tasks wait less also where less comes to be done.
static DEMAND: Guard = Guard {
    measure: &WAKES,
    worse: Worse::Less,
    margin: 0.05,
    counts: |_, _| true,
};
/// That it takes no longer.
static TIME: Guard = Guard {
    measure: &WALL,
    worse: Worse::More,
    margin: 0.03,
    counts: |_, _| true,
};

static OF_WORK: [&Guard; 3] = [&WAITS, &CANARY, &STARVATION];
static OF_WAITS: [&Guard; 5] = [&DONE, &TIME_IN_PROGRAMS, &DEMAND, &CANARY, &STARVATION];
static OF_ENERGY: [&Guard; 3] = [&WAITS, &TIME, &STARVATION];
static OF_ENERGY_PER_INSTRUCTION: [&Guard; 3] = [&WAITS, &DONE, &STARVATION];

/// What may not get worse where this is judged.
fn guards(primary: &Primary) -> &'static [&'static Guard] {
    match primary {
        Primary::Wall | Primary::Number { .. } | Primary::Instructions | Primary::Completions => {
            &OF_WORK
        }
        Primary::Waits => &OF_WAITS,
        Primary::Energy => &OF_ENERGY,
        Primary::EnergyPerInstruction => &OF_ENERGY_PER_INSTRUCTION,
    }
}

/// Whether waits are long enough to be felt, and most turns have so many that they say something.
fn is_felt(challenger: &Challenger, waits: &Measured, tells: fn(&Turn) -> bool) -> bool {
    let pairs = challenger.pairs.iter();
    let telling = pairs.filter(|pair| tells(&pair.incumbent) && tells(&pair.challenger));
    2 * telling.count() > challenger.pairs.len() && waits.medians.challenger > UNFELT
}

fn has_wakes(turn: &Turn) -> bool {
    turn.machine.outcome.is_some_and(|outcome| {
        let a_second = outcome.wakes_per_second;
        a_second >= FEWEST_A_SECOND && a_second * turn.wall >= FEWEST_IN_A_TURN
    })
}

fn canary_has_wakes(turn: &Turn) -> bool {
    let canary = turn.machine.canary;
    canary.is_some_and(|canary| canary.wakes_per_second * turn.wall >= FEWEST_IN_A_TURN)
}

/// Those of which something is known.
pub(super) fn check(primary: &Primary, challenger: &Challenger) -> Vec<Checked> {
    let checked = guards(primary).iter().map(|guard| guard.check(challenger));
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
        if !(self.counts)(challenger, &measured) {
            return None;
        }
        let (is_lost, once) = match self.worse {
            Worse::Once { above } => {
                let most = challenger.most(self.measure)?;
                let limit = above.max((1.0 + self.margin) * most.incumbent);
                (most.challenger > limit, Some(most.challenger))
            }
            Worse::More | Worse::Less => (self.is_mostly_worse(measured.change?), None),
        };
        Some(Checked {
            guard: self,
            change: measured.change,
            is_lost,
            once,
        })
    }

    /// By more than the margin in the middle, and surely so at all: few turns differ by that much by themselves.
    fn is_mostly_worse(&self, change: Effect) -> bool {
        if self.worse == Worse::Less {
            let is_surely = change.interval.is_some_and(|interval| interval.high < 0.0);
            is_surely && change.median < (-self.margin).ln_1p()
        } else {
            let is_surely = change.interval.is_some_and(|interval| interval.low > 0.0);
            is_surely && change.median > self.margin.ln_1p()
        }
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

    /// The turn, in which one in a hundred of the canary's wake-ups waited for more than so long.
    fn with_canary(turn: Turn, wakes_per_second: f64, p99_ns: f64) -> Turn {
        let mut turn = waits(turn, p99_ns);
        turn.machine.canary = turn.machine.outcome.take();
        if let Some(canary) = &mut turn.machine.canary {
            canary.wakes_per_second = wakes_per_second;
        }
        turn
    }

    #[test]
    fn the_canary_may_wait_twice_as_long_and_no_more() {
        let of = |ns| with_canary(turn(5.0), 50.0, ns);
        assert_eq!(checked(of(1e6), of(1.9e6)), [false]);
        assert_eq!(checked(of(1e6), of(2.1e6)), [true]);
        let none: [bool; 0] = [];
        assert_eq!(checked(of(1e4), of(9e4)), none, "nobody feels that");
        let seldom = |ns| with_canary(turn(1.0), 50.0, ns);
        assert_eq!(checked(seldom(1e6), seldom(9e6)), none);
    }

    #[test]
    fn that_a_task_starves_is_lost_by_one_turn() {
        let of = |seconds| {
            let mut turn = turn(5.0);
            turn.machine.longest_wait = Some(seconds);
            turn
        };
        assert_eq!(checked(of(0.01), of(0.99)), [false]);
        assert_eq!(checked(of(0.01), of(1.01)), [true]);
        assert_eq!(checked(of(0.4), of(1.9)), [false]);
        assert_eq!(checked(of(0.0), of(2.0)), [true]);
        let mut comparison = with(&["bpfland"], &[]);
        for longest in [0.0, 0.0, 1.5, 0.0] {
            let turns = Turns {
                incumbent: of(0.02),
                challenger: of(longest),
            };
            comparison.add(0, turns).unwrap();
        }
        let checked = check(&Primary::Wall, &comparison.challengers[0]);
        assert_eq!((checked[0].is_lost, checked[0].once), (true, Some(1.5)));
    }

    #[test]
    fn what_is_done_is_counted_by_instructions_where_that_can_be() {
        let of = |user, instructions| {
            let mut turn = turn(5.0);
            turn.machine.user = Some(user);
            turn.machine.instructions = instructions;
            turn
        };
        let lost = |primary: &Primary, incumbent, challenger| {
            let names = ["bpfland".to_owned()];
            let mut comparison = Comparison::new("kernel".into(), &names, Primary::Wall, 30, 5);
            for _ in 0..6 {
                let turns = Turns {
                    incumbent,
                    challenger,
                };
                comparison.add(0, turns).unwrap();
            }
            let checked = check(primary, &comparison.challengers[0]);
            checked
                .iter()
                .map(|checked| (checked.guard.measure.key, checked.is_lost))
                .collect::<Vec<_>>()
        };
        let without = lost(&Primary::Waits, of(2.0, None), of(1.9, None));
        assert_eq!(without, [("machine_user_cpus", true)]);
        let busier = lost(&Primary::Waits, of(2.0, Some(3e9)), of(1.9, Some(3e9)));
        assert_eq!(busier, [("instructions_per_s", false)]);
        let colder = lost(&Primary::Waits, of(2.0, Some(3e9)), of(2.0, Some(2.9e9)));
        assert_eq!(colder, [("instructions_per_s", true)]);
        let per_work = Primary::EnergyPerInstruction;
        let slower = lost(&per_work, of(2.0, Some(3e9)), of(2.0, Some(2.9e9)));
        assert_eq!(slower, [("instructions_per_s", true)]);
        let longer = Turn {
            wall: 5.5,
            ..of(2.0, None)
        };
        assert_eq!(
            lost(&Primary::Energy, of(2.0, None), longer),
            [("wall_s", true)]
        );
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
