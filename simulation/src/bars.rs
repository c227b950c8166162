//! What trials promise, and how far they keep it on machines that are made up.

use std::ops::Range;
use std::time::Duration;

use auto_ext_policy::{Goal, TrialMode};
use fastrand::Rng;

use crate::load::{Load, Noise, Truth};
use crate::world::{Broken, People, Told, World};

/// What differs in a turn, as the standard deviation of a logarithm.
const SIGMA: f64 = 0.07;
const NOISES: [Noise; 4] = [
    Noise::Constant,
    Noise::Ar1,
    Noise::RandomWalk,
    Noise::Regimes,
];
/// How long one challenger is waited for, and how long a machine is lived with.
const MOST_TIME: Duration = Duration::from_hours(24 * 4);
const LIFE: Duration = Duration::from_hours(24 * 7);

/// How many machines are made up for each bar.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// For what is found of one challenger.
    pub comparisons: u64,
    /// For what comes of a week.
    pub lives: u64,
    /// The seed of the first machine of each bar; the others have the next ones.
    pub first_seed: u64,
}

impl Runs {
    /// The seeds of so many machines.
    fn seeds(&self, count: u64) -> Range<u64> {
        self.first_seed..self.first_seed.saturating_add(count)
    }
}

/// A promise and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What is promised.
    pub what: String,
    /// How much.
    pub wanted: &'static str,
    /// What was measured.
    pub measured: String,
    /// Whether that is as promised.
    pub is_met: bool,
}

/// What one challenger is tried under.
#[derive(Clone, Copy)]
struct Case {
    noise: Noise,
    goal: Goal,
    truth: Truth,
}

impl Case {
    /// Waits around a level that stays.
    fn of(truth: Truth) -> Self {
        Self {
            noise: Noise::Constant,
            goal: Goal::Latency,
            truth,
        }
    }
}

/// What came of a trial of one challenger.
struct Compared {
    told: Told,
    pairs: usize,
    too_noisy: bool,
}

/// What came of a week.
#[derive(Default)]
struct Lived {
    seconds: f64,
    worse_seconds: f64,
    gained: f64,
    possible: f64,
    lives: u32,
    ended_worse: u32,
}

struct Bench {
    bars: Vec<Bar>,
    broken: Vec<Broken>,
    machines: u64,
    runs: Runs,
}

/// Every bar, one after the other, each told to `tell` when it is known.
pub fn bars(runs: Runs, mut tell: impl FnMut(&Bar)) -> Vec<Bar> {
    let mut bench = Bench {
        bars: Vec::new(),
        broken: Vec::new(),
        machines: 0,
        runs,
    };
    let parts: [fn(&mut Bench); 6] = [
        Bench::equals,
        Bench::better,
        Bench::worse,
        Bench::closed_loop,
        Bench::flicker,
        Bench::lives,
    ];
    let mut told = 0;
    for part in parts.into_iter().chain([Bench::limits as fn(&mut Bench)]) {
        part(&mut bench);
        bench.bars[told..].iter().for_each(&mut tell);
        told = bench.bars.len();
    }
    bench.bars
}

impl Bench {
    fn bar(&mut self, what: String, wanted: &'static str, measured: String, is_met: bool) {
        self.bars.push(Bar {
            what,
            wanted,
            measured,
            is_met,
        });
    }

    /// Has one challenger tried until something is found, or `most` pairs are made.
    fn compare(&mut self, case: Case, most: usize, seed: u64) -> Compared {
        let Case { noise, goal, truth } = case;
        let load = Load::new(noise, SIGMA, seed);
        let (challengers, people) = ([("flash", truth)], People::default());
        let mut world = World::new(load, &challengers, goal, people, TrialMode::On, seed);
        while world.told("flash") == Told::Open
            && world.pairs < most
            && !world.is_too_noisy()
            && world.now() < MOST_TIME
        {
            world.pass();
        }
        self.machines += 1;
        self.broken.append(&mut world.broken);
        Compared {
            told: world.told("flash"),
            pairs: world.pairs,
            too_noisy: world.is_too_noisy(),
        }
    }

    fn compared(&mut self, case: Case, most: usize) -> Vec<Compared> {
        let seeds = self.runs.seeds(self.runs.comparisons);
        let run = |seed| self.compare(case, most, seed);
        seeds.map(run).collect()
    }

    fn equals(&mut self) {
        let goals = [Goal::Requests, Goal::Latency].into_iter();
        for (goal, noise) in goals.flat_map(|goal| NOISES.map(|noise| (goal, noise))) {
            let case = Case {
                noise,
                goal,
                truth: Truth::default(),
            };
            let compared = self.compared(case, 30);
            let better = share(&compared, |run| run.told == Told::Better);
            let worse = share(&compared, |run| run.told == Told::Worse);
            let noisy = share(&compared, |run| run.too_noisy);
            let measured = format!(
                "{} better, {} worse, {} too noisy",
                percent(better),
                percent(worse),
                percent(noisy)
            );
            let what = format!("equals are called better, {}, {}", goal.name(), name(noise));
            self.bar(what, "<= 2 %", measured, better <= 0.02);
        }
    }

    fn better(&mut self) {
        let truth = Truth {
            effect: 1.15f64.ln(),
            ..Truth::default()
        };
        for (what, truth) in [
            ("15 % more requests are found in 20 pairs", truth),
            (
                "the same where the other scheduler shows for 3 s",
                Truth {
                    carry_over: 3.0,
                    ..truth
                },
            ),
        ] {
            let case = Case {
                goal: Goal::Requests,
                ..Case::of(truth)
            };
            self.found(what, case);
        }
        // Of waits a tenth counts for nothing.
        let truth = Truth {
            effect: -(0.7f64.ln()),
            ..Truth::default()
        };
        self.found(
            "waits that are 30 % shorter are found in 20 pairs",
            Case::of(truth),
        );
    }

    fn found(&mut self, what: &str, case: Case) {
        let compared = self.compared(case, 20);
        let found = share(&compared, |run| run.told == Told::Better);
        let measured = format!(
            "{}, {} pairs (median)",
            percent(found),
            quantile(&compared, 0.5)
        );
        self.bar(what.to_owned(), ">= 95 %", measured, found >= 0.95);
    }

    fn worse(&mut self) {
        let truth = Truth {
            effect: 0.8f64.ln(),
            ..Truth::default()
        };
        for noise in [Noise::Constant, Noise::Ar1] {
            let case = Case {
                noise,
                goal: Goal::Requests,
                truth,
            };
            let compared = self.compared(case, 30);
            let out = share(&compared, |run| run.told == Told::Worse);
            let last = quantile(&compared, 0.9);
            let measured = format!("{last} pairs, {} in the end", percent(out));
            let what = format!("20 % worse is out, 90th percentile, {}", name(noise));
            self.bar(what, "<= 8 pairs", measured, last <= 8 && out >= 0.9);
        }
        for (what, truth) in [
            (
                "one that fails every few minutes is never called better",
                Truth {
                    failures: 20.0,
                    ..Truth::default()
                },
            ),
            (
                "one under which a task waits 1.5 s is never called better",
                Truth {
                    longest_wait: 1.5,
                    effect: 0.3,
                    ..Truth::default()
                },
            ),
        ] {
            let compared = self.compared(Case::of(truth), 30);
            let better = share(&compared, |run| run.told == Told::Better);
            let measured = format!(
                "{} pairs (median), {} called better",
                quantile(&compared, 0.5),
                percent(better)
            );
            self.bar(what.to_owned(), "never better", measured, better <= 0.02);
        }
    }

    fn closed_loop(&mut self) {
        let truth = Truth {
            effect: -(0.7f64.ln()),
            demand: 0.9f64.ln(),
            ..Truth::default()
        };
        let compared = self.compared(Case::of(truth), 30);
        let better = compared
            .iter()
            .filter(|run| run.told == Told::Better)
            .count();
        let measured = format!("{better} of {}", compared.len());
        let what = "a tenth less demand and 30 % shorter waits are called better";
        self.bar(what.to_owned(), "0 of 10,000", measured, better == 0);
    }

    fn flicker(&mut self) {
        let truth = Truth {
            effect: 0.9f64.ln(),
            flicker: 3.0,
            ..Truth::default()
        };
        let compared = self.compared(Case::of(truth), 30);
        let better = share(&compared, |run| run.told == Told::Better);
        let worse = share(&compared, |run| run.told == Told::Worse);
        let measured = format!("{} better, {} worse", percent(better), percent(worse));
        let what = "10 % worse, and the class flickers under it alone: called better";
        self.bar(what.to_owned(), "<= 0.1 %", measured, better <= 0.001);
    }

    fn lives(&mut self) {
        let mut lived = Lived::default();
        for seed in self.runs.seeds(self.runs.lives) {
            self.live(seed, &mut lived);
        }
        let worse = lived.worse_seconds / lived.seconds.max(1.0);
        let what = "time on something more than 3 % worse than the kernel's own";
        self.bar(what.to_owned(), "<= 0.5 %", percent(worse), worse <= 0.005);
        let ended = f64::from(lived.ended_worse) / f64::from(lived.lives.max(1));
        let measured = format!("{} of {}", lived.ended_worse, lived.lives);
        let what = "what runs after a week is truly worse";
        self.bar(what.to_owned(), "<= 2 of 1,000", measured, ended <= 0.002);
        let gain = lived.gained / lived.possible.max(f64::MIN_POSITIVE);
        let what = "what was gained in a week, of what an oracle gains";
        self.bar(what.to_owned(), ">= 80 %", percent(gain), gain >= 0.8);
    }

    /// A week with three challengers, of which anything may be true.
    fn live(&mut self, seed: u64, lived: &mut Lived) {
        let mut chance = Rng::with_seed(seed ^ 0xda3e_39cb_94b9_5bdb);
        let mut truth = || {
            let effects = [-0.3, -0.2, -0.1, 0.0, 0.0, 0.15, 0.3];
            Truth {
                effect: effects[chance.usize(..effects.len())],
                carry_over: f64::from(chance.u8(0..3)),
                failures: if chance.u8(0..10) == 0 { 2.0 } else { 0.0 },
                flicker: f64::from(chance.u8(0..2)),
                ..Truth::default()
            }
        };
        let challengers = [
            ("flash", truth()),
            ("bpfland", truth()),
            ("cosmos", truth()),
        ];
        let people = match seed % 2 {
            0 => People::default(),
            _ => People {
                pin: 0.2,
                pin_against_worse: 6.0,
                unplug: 0.1,
                withdraw: 0.05,
                play: 0.2,
            },
        };
        let noise = NOISES[usize::try_from(seed / 2 % 4).unwrap_or_default()];
        let mode = if seed.is_multiple_of(3) {
            TrialMode::Ask
        } else {
            TrialMode::On
        };
        let goal = if seed % 5 < 2 {
            Goal::Latency
        } else {
            Goal::Requests
        };
        let load = Load::new(noise, SIGMA, seed);
        let mut world = World::new(load, &challengers, goal, people, mode, seed);
        while world.now() < LIFE {
            world.pass();
        }
        let sound = challengers
            .iter()
            .filter(|(_, truth)| truth.failures == 0.0);
        let best = sound.map(|(_, truth)| truth.effect).fold(0.0, f64::max);
        lived.seconds += world.seconds;
        lived.worse_seconds += world.worse_seconds;
        lived.gained += world.gained;
        lived.possible += best * world.seconds;
        lived.lives += 1;
        lived.ended_worse += u32::from(world.choice().effect < 0.0);
        self.machines += 1;
        self.broken.append(&mut world.broken);
    }

    fn limits(&mut self) {
        let first: Vec<String> = self
            .broken
            .iter()
            .take(3)
            .map(|Broken(what)| what.clone())
            .collect();
        let measured = match self.broken.len() {
            0 => format!("never, on {} machines", self.machines),
            count => format!("{count} times: {}", first.join("; ")),
        };
        let what = "a limit of switches, time, consent or quiet is broken";
        self.bar(what.to_owned(), "never", measured, self.broken.is_empty());
    }
}

fn name(noise: Noise) -> &'static str {
    match noise {
        Noise::Constant => "a level that stays",
        Noise::Ar1 => "a level that comes back",
        Noise::RandomWalk => "a level that wanders",
        Noise::Regimes => "two levels",
    }
}

fn share(compared: &[Compared], is: impl Fn(&Compared) -> bool) -> f64 {
    let count = compared.iter().filter(|run| is(run)).count();
    count as f64 / compared.len().max(1) as f64
}

/// After how many pairs this share of them had ended.
fn quantile(compared: &[Compared], share: f64) -> usize {
    let mut pairs: Vec<usize> = compared.iter().map(|run| run.pairs).collect();
    pairs.sort_unstable();
    // The rank of a share of all that there are.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is no more than the number of runs"
    )]
    let rank = (share * pairs.len() as f64).ceil() as usize;
    pairs
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So few machines say little of how often something is wrong, and all of what must never be.
    #[test]
    fn no_limit_is_ever_broken_and_nothing_is_tried_without_consent() {
        let runs = Runs {
            comparisons: 2,
            lives: 3,
            first_seed: 0,
        };
        let bars = bars(runs, |_| {});
        let limits = bars.last().expect("the last bar");
        assert!(limits.is_met, "{limits:?}");
        assert!(bars.len() >= 14);
        for bar in bars.iter().filter(|bar| bar.what.contains("called better")) {
            assert!(bar.is_met, "{bar:?}");
        }
    }

    #[test]
    fn in_other_modes_nothing_is_ever_tried() {
        for mode in [TrialMode::Off, TrialMode::Watch] {
            let load = Load::new(Noise::Constant, SIGMA, 1);
            let truth = Truth {
                effect: 0.5,
                ..Truth::default()
            };
            let people = People::default();
            let mut world = World::new(load, &[("flash", truth)], Goal::Latency, people, mode, 1);
            while world.now() < Duration::from_hours(6) {
                world.pass();
            }
            assert_eq!((world.pairs, world.told("flash")), (0, Told::Open));
            assert!(
                world.broken.is_empty() && world.gained == 0.0,
                "{:?}",
                world.broken
            );
        }
    }

    #[test]
    fn the_same_seed_lives_the_same_life() {
        let life = || {
            let mut bench = Bench {
                bars: Vec::new(),
                broken: Vec::new(),
                machines: 0,
                runs: Runs {
                    comparisons: 0,
                    lives: 0,
                    first_seed: 0,
                },
            };
            let compared = bench.compare(Case::of(Truth::default()), 8, 5);
            (compared.told, compared.pairs)
        };
        assert_eq!(life(), life());
    }
}
