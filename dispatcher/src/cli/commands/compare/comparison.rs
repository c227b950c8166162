//! What a comparison knows: the pairs of each challenger and what they say. Pure.

use auto_ext_evidence::{
    Arm, Better, Design, Effect, Evidence, LogRatio, NotPositive, Pair, Plan, Verdict, median,
};
use auto_ext_trials::{JudgedBy, Metric};

use super::measures::{
    COMPLETIONS, ENERGY, ENERGY_PER_INSTRUCTION, INSTRUCTIONS, Measure, VALUE, WAIT_MEAN, WALL,
};
use super::turn::Turn;

/// By what is judged.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Primary {
    /// The time that the command takes.
    Wall,
    /// The number that this expression finds in its output.
    Number { expression: String, better: Better },
    /// How long tasks wait for a CPU, on average.
    Waits,
    /// How many instructions programs get done.
    Instructions,
    /// How many requests of disks and packets are completed.
    Completions,
    /// What the processors take while the command runs.
    Energy,
    /// The same for each instruction of programs.
    EnergyPerInstruction,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) incumbent: String,
    pub(super) primary: Primary,
    pub(super) challengers: Vec<Challenger>,
    pub(super) design: Design,
    plan: Plan,
    most_pairs: usize,
}

/// What is compared with the incumbent.
#[derive(Debug)]
pub(super) struct Challenger {
    pub(super) name: String,
    pub(super) evidence: Evidence,
    /// The turns of the pairs that count.
    pub(super) pairs: Vec<Turns>,
    /// The pairs that do not count, as a turn under the incumbent or under this one was dropped.
    pub(super) dropped: Turns<usize>,
}

/// Something of the turn under the incumbent, and the same of the one under the challenger.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Turns<T = Turn> {
    pub(super) incumbent: T,
    pub(super) challenger: T,
}

/// One thing that was measured in every pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// The medians.
    pub(super) medians: Turns<f64>,
    /// How many times as much it is under the challenger, as a logarithm; `None` where it was 0 in a turn.
    pub(super) change: Option<Effect>,
}

impl Comparison {
    pub(super) fn new(
        incumbent: String,
        challengers: &[String],
        primary: Primary,
        most_pairs: usize,
        seed: u64,
    ) -> Self {
        let design = primary.judged_by().design(challengers.len());
        let challenger = |name: &String| Challenger {
            name: name.clone(),
            evidence: Evidence::new(design),
            pairs: Vec::new(),
            dropped: Turns::default(),
        };
        Self {
            incumbent,
            primary,
            challengers: challengers.iter().map(challenger).collect(),
            design,
            plan: Plan::new(seed, challengers.len()),
            most_pairs,
        }
    }

    /// The scheduler of a turn.
    pub(super) fn scheduler(&self, arm: Arm) -> &str {
        match arm {
            Arm::Incumbent => &self.incumbent,
            Arm::Challenger(number) => &self.challengers[number].name,
        }
    }

    /// How many switches there will be at most from now on, with those that bring everything in once before, and the one
    /// after it.
    pub(super) fn switches(&self) -> usize {
        let names = self.challengers.iter().map(|challenger| &challenger.name);
        let before = names.filter(|name| **name != self.incumbent).count();
        let last = Arm::Challenger(self.challengers.len() - 1);
        1 + before + self.plan.changes(self.most_pairs, last) + 1
    }

    /// The next pair, if more is to be known.
    pub(super) fn next(&mut self) -> Option<Pair> {
        let Self {
            plan,
            challengers,
            most_pairs,
            ..
        } = self;
        plan.next(|number| challengers[number].is_open(*most_pairs))
    }

    /// How many pairs are left at most.
    pub(super) fn pairs_left(&self) -> usize {
        let open = self.challengers.iter();
        let open = open.filter(|challenger| challenger.is_open(self.most_pairs));
        open.map(|challenger| self.most_pairs - challenger.pairs.len())
            .sum()
    }

    /// Whether something is known of every challenger.
    pub(super) fn is_decided(&self) -> bool {
        let mut verdicts = self
            .challengers
            .iter()
            .map(|challenger| challenger.evidence.verdict());
        verdicts.all(|verdict| verdict != Verdict::Open)
    }

    /// Adds a pair. Returns what it says.
    ///
    /// # Errors
    /// When that cannot be said, as what was measured is not above 0: it does not count.
    pub(super) fn add(&mut self, number: usize, turns: Turns) -> Result<LogRatio, NotPositive> {
        let of = |turn: Turn| self.primary.of(&turn);
        let (challenger, incumbent) = (of(turns.challenger), of(turns.incumbent));
        let ratio = LogRatio::of(challenger, incumbent, self.primary.better())?;
        let challenger = &mut self.challengers[number];
        challenger.evidence.add(ratio);
        challenger.pairs.push(turns);
        Ok(ratio)
    }

    /// Records that a pair of this challenger does not count, as the turn of this arm was dropped.
    pub(super) fn drop_pair(&mut self, number: usize, arm: Arm) {
        let dropped = &mut self.challengers[number].dropped;
        match arm {
            Arm::Incumbent => dropped.incumbent += 1,
            Arm::Challenger(_) => dropped.challenger += 1,
        }
    }

    /// Whether there is anything to tell.
    pub(super) fn has_pairs(&self) -> bool {
        let mut all = self.challengers.iter();
        all.any(|challenger| !challenger.pairs.is_empty())
    }

    /// How many pairs do not count.
    pub(super) fn dropped(&self) -> usize {
        let dropped = self.challengers.iter().map(|challenger| challenger.dropped);
        dropped
            .map(|dropped| dropped.incumbent + dropped.challenger)
            .sum()
    }
}

impl Primary {
    pub(super) fn better(&self) -> Better {
        match self {
            Self::Wall | Self::Waits | Self::Energy | Self::EnergyPerInstruction => Better::Lower,
            Self::Instructions | Self::Completions => Better::Higher,
            Self::Number { better, .. } => *better,
        }
    }

    /// What is judged.
    pub(super) fn measure(&self) -> &'static Measure {
        match self {
            Self::Wall => &WALL,
            Self::Number { .. } => &VALUE,
            Self::Waits => &WAIT_MEAN,
            Self::Instructions => &INSTRUCTIONS,
            Self::Completions => &COMPLETIONS,
            Self::Energy => &ENERGY,
            Self::EnergyPerInstruction => &ENERGY_PER_INSTRUCTION,
        }
    }

    /// The same in words that trials know.
    pub(super) fn judged_by(&self) -> JudgedBy {
        match self {
            Self::Wall => JudgedBy::Time,
            Self::Number { .. } => JudgedBy::Number,
            Self::Waits => JudgedBy::Metric(Metric::Wait),
            Self::Instructions => JudgedBy::Metric(Metric::Instructions),
            Self::Completions => JudgedBy::Metric(Metric::Completions),
            Self::Energy => JudgedBy::EnergyOfCommand,
            Self::EnergyPerInstruction => JudgedBy::Metric(Metric::Energy),
        }
    }

    /// What is judged of a turn.
    pub(super) fn of(&self, turn: &Turn) -> f64 {
        // Every turn has it where it is wanted.
        self.measure().of(turn).unwrap_or(f64::NAN)
    }

    /// The logarithms of the ratios of the first halves of two turns, and of the second halves; `None` where they are not known.
    pub(super) fn of_halves(&self, turns: &Turns) -> Option<[f64; 2]> {
        let (challenger, incumbent) = (turns.challenger.halves?, turns.incumbent.halves?);
        let ratio = |half: usize| {
            let ratio = LogRatio::of(challenger[half], incumbent[half], self.better());
            ratio.ok().map(LogRatio::get)
        };
        Some([ratio(0)?, ratio(1)?])
    }
}

impl Challenger {
    fn is_open(&self, most_pairs: usize) -> bool {
        self.evidence.verdict() == Verdict::Open && self.pairs.len() < most_pairs
    }

    /// How many times as good it is, as a logarithm.
    pub(super) fn effect(&self) -> Option<Effect> {
        Effect::of(self.evidence.ratios())
    }

    /// The most that was measured by this in one turn, of the pairs of which both have it; `None` without any.
    pub(super) fn most(&self, measure: &Measure) -> Option<Turns<f64>> {
        let of = |pair: &Turns| Some((measure.of(&pair.incumbent)?, measure.of(&pair.challenger)?));
        let both = self.pairs.iter().filter_map(of);
        let most = both.reduce(|(a, b), (c, d)| (a.max(c), b.max(d)))?;
        Some(Turns {
            incumbent: most.0,
            challenger: most.1,
        })
    }

    /// What was measured by this, in the pairs of which both turns have it; `None` without any.
    pub(super) fn measured(&self, measure: &Measure) -> Option<Measured> {
        let of = |pair: &Turns| Some((measure.of(&pair.incumbent)?, measure.of(&pair.challenger)?));
        let both: Vec<(f64, f64)> = self.pairs.iter().filter_map(of).collect();
        let ratios: Result<Vec<LogRatio>, _> = both
            .iter()
            .map(|(incumbent, challenger)| LogRatio::of(*challenger, *incumbent, Better::Higher))
            .collect();
        Some(Measured {
            medians: Turns {
                incumbent: median(both.iter().map(|(incumbent, _)| *incumbent))?,
                challenger: median(both.iter().map(|(_, challenger)| *challenger))?,
            },
            change: ratios.ok().and_then(|ratios| Effect::of(&ratios)),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use auto_ext_signals::{Outcome, Waits};

    use super::*;
    use crate::cli::commands::compare::measures::{MEASURES, WAIT_P95};
    use crate::cli::commands::compare::meter::Machine;

    pub(in super::super) fn turn(wall: f64) -> Turn {
        Turn {
            wall,
            user: Some(2.0 * wall),
            system: Some(0.0),
            value: None,
            machine: Machine::default(),
            halves: None,
        }
    }

    /// The turn, in which a thousand times a second somebody waited so long.
    pub(in super::super) fn waits(turn: Turn, wait_ns: f64) -> Turn {
        let outcome = Outcome {
            wakes_per_second: 1000.0,
            waits: Some(Waits {
                mean_ns: wait_ns,
                p50_ns: wait_ns,
                p95_ns: wait_ns,
                p99_ns: wait_ns,
                long_share: 0.0,
            }),
            stretch: Some(1.25),
        };
        let machine = Machine {
            outcome: Some(outcome),
            user: Some(1.5),
            system: Some(0.25),
            ..Machine::default()
        };
        Turn { machine, ..turn }
    }

    /// A comparison of `kernel` with these challengers, of which the first has these pairs: incumbent and challenger.
    pub(in super::super) fn with(challengers: &[&str], pairs: &[(f64, f64)]) -> Comparison {
        let challengers: Vec<String> = challengers.iter().map(ToString::to_string).collect();
        let mut comparison = Comparison::new("kernel".into(), &challengers, Primary::Wall, 30, 5);
        for (incumbent, challenger) in pairs {
            let turns = Turns {
                incumbent: turn(*incumbent),
                challenger: turn(*challenger),
            };
            comparison.add(0, turns).unwrap();
        }
        comparison
    }

    #[test]
    fn what_is_decided_gets_no_more_pairs() {
        let mut comparison = with(&["bpfland", "cosmos"], &[(10.0, 5.0); 7]);
        assert_eq!(
            comparison.challengers[0].evidence.verdict(),
            Verdict::Better
        );
        assert!(!comparison.is_decided());
        assert_eq!(comparison.pairs_left(), 30);
        for _ in 0..4 {
            assert_eq!(comparison.next().unwrap().challenger, 1);
        }
    }

    #[test]
    fn each_challenger_gets_as_many_pairs_as_was_asked_for() {
        let names = ["bpfland".to_owned()];
        let mut comparison = Comparison::new("kernel".into(), &names, Primary::Wall, 2, 5);
        for _ in 0..2 {
            let pair = comparison.next().unwrap();
            let turns = Turns {
                incumbent: turn(1.0),
                challenger: turn(1.0),
            };
            comparison.add(pair.challenger, turns).unwrap();
        }
        assert_eq!(comparison.next(), None);
        assert!(!comparison.is_decided());
    }

    #[test]
    fn what_is_measured_is_shown_as_it_changes() {
        let comparison = with(&["bpfland"], &[(10.0, 5.0), (20.0, 10.0), (30.0, 15.0)]);
        let challenger = &comparison.challengers[0];
        let effect = challenger.effect().unwrap().median;
        assert!((effect - 2f64.ln()).abs() < 1e-12);
        let [wall, _, system, ..] = &MEASURES;
        let wall = challenger.measured(wall).unwrap();
        assert_eq!(
            wall.medians,
            Turns {
                incumbent: 20.0,
                challenger: 10.0
            }
        );
        assert!((wall.change.unwrap().median + 2f64.ln()).abs() < 1e-12);
        // Of zeros there is no ratio.
        let system = challenger.measured(system).unwrap();
        assert_eq!(system.change, None);
    }

    #[test]
    fn of_what_some_turns_lack_the_pairs_that_have_it_are_told() {
        let mut comparison = with(&["bpfland"], &[(10.0, 5.0)]);
        let of = |ns| waits(turn(1.0), ns);
        let turns = Turns {
            incumbent: of(2e6),
            challenger: of(1e6),
        };
        comparison.add(0, turns).unwrap();
        let measured = comparison.challengers[0].measured(&WAIT_P95).unwrap();
        assert_eq!(
            measured.medians,
            Turns {
                incumbent: 2e-3,
                challenger: 1e-3
            }
        );
        assert!((measured.change.unwrap().median + 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn halves_are_compared_by_what_is_judged() {
        let of = |halves| Turn {
            halves: Some(halves),
            ..turn(2.0)
        };
        let turns = Turns {
            incumbent: of([2e-3, 4e-3]),
            challenger: of([1e-3, 1e-3]),
        };
        let [first, second] = Primary::Waits.of_halves(&turns).unwrap();
        assert!((first - 2f64.ln()).abs() < 1e-12 && (second - 4f64.ln()).abs() < 1e-12);
        let more = Primary::Instructions.of_halves(&turns).unwrap();
        assert!((more[0] + 2f64.ln()).abs() < 1e-12, "{more:?}");
        for incumbent in [turn(2.0), of([0.0, 1e-3])] {
            let without = Turns { incumbent, ..turns };
            assert_eq!(Primary::Waits.of_halves(&without), None);
        }
    }

    #[test]
    fn switches_are_counted_with_those_before_and_after() {
        let names = ["bpfland".to_owned()];
        let none = Comparison::new("kernel".into(), &names, Primary::Wall, 0, 5);
        assert_eq!(none.switches(), 3);
        let most = with(&["bpfland"], &[]).switches();
        assert!((33..=63).contains(&most), "{most}");
    }

    #[test]
    fn a_turn_without_a_number_does_not_count() {
        let primary = Primary::Number {
            expression: "fps".into(),
            better: Better::Higher,
        };
        let names = ["bpfland".to_owned()];
        let mut comparison = Comparison::new("kernel".into(), &names, primary, 30, 5);
        let turns = Turns {
            incumbent: turn(1.0),
            challenger: turn(1.0),
        };
        assert!(comparison.add(0, turns).is_err());
        comparison.drop_pair(0, Arm::Challenger(0));
        assert_eq!(
            (comparison.dropped(), comparison.challengers[0].pairs.len()),
            (1, 0)
        );
    }
}
