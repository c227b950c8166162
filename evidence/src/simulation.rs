//! Comparisons by chance, from fixed seeds: how often the verdict is wrong, and how soon it is right.

use crate::carry_over::{SETTLE, Settling};
use crate::evidence::{Design, Evidence, MAX_PAIRS, Verdict};
use crate::halving::Halving;
use crate::median::median;
use crate::plan::{Arm, Plan};
use crate::ratio::{Better, LogRatio};

const MARGIN: f64 = 0.03;
const RUNS: u64 = 4000;

/// How the time of a turn differs from the last one's.
#[derive(Clone, Copy, Debug)]
enum Noise {
    /// Normally distributed.
    Normal,
    /// A tenth of the turns takes three times the deviation more.
    Outliers,
    /// Nine tenths of what it was for the turn before.
    Lasting,
    /// It gets slower and slower.
    Drift,
}

const NOISES: [Noise; 4] = [Noise::Normal, Noise::Outliers, Noise::Lasting, Noise::Drift];

struct Machine {
    chance: fastrand::Rng,
    noise: Noise,
    sigma: f64,
    state: f64,
}

impl Machine {
    fn normal(&mut self) -> f64 {
        let (a, b): (f64, f64) = (1.0 - self.chance.f64(), self.chance.f64());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// The time of a turn whose logarithm is so much less than 0 on average.
    fn turn(&mut self, effect: f64) -> f64 {
        let normal = self.normal();
        let noise = match self.noise {
            Noise::Normal => normal,
            Noise::Outliers if self.chance.u8(0..10) == 0 => normal + 3.0,
            Noise::Outliers => normal,
            Noise::Lasting => {
                self.state = 0.9 * self.state + 0.19f64.sqrt() * normal;
                self.state
            }
            Noise::Drift => {
                self.state += 0.3;
                self.state + normal
            }
        };
        (self.sigma * noise - effect).exp()
    }
}

/// How a comparison ends with so many pairs at most, and after how many.
fn compare(noise: Noise, sigma: f64, effect: f64, most: usize, seed: u64) -> (Verdict, usize) {
    let mut machine = Machine {
        chance: fastrand::Rng::with_seed(seed),
        noise,
        sigma,
        state: 0.0,
    };
    let mut plan = Plan::new(seed ^ 0x5bd1_e995, 1);
    let mut evidence = Evidence::new(Design::new(MARGIN, 1));
    while evidence.verdict() == Verdict::Open && evidence.ratios().len() < most {
        let pair = plan.next(|_| true).unwrap();
        let times = pair.turns().map(|arm| match arm {
            Arm::Incumbent => machine.turn(0.0),
            Arm::Challenger(_) => machine.turn(effect),
        });
        let [incumbent, challenger] = if pair.challenger_first {
            [times[1], times[0]]
        } else {
            times
        };
        evidence.add(LogRatio::of(challenger, incumbent, Better::Lower).unwrap());
    }
    (evidence.verdict(), evidence.ratios().len())
}

fn runs(noise: Noise, sigma: f64, effect: f64, most: usize) -> Vec<(Verdict, usize)> {
    let run = |seed| compare(noise, sigma, effect, most, seed);
    (0..RUNS).map(run).collect()
}

fn share(runs: &[(Verdict, usize)], is: impl Fn(&(Verdict, usize)) -> bool) -> f64 {
    let count = runs.iter().filter(|run| is(run)).count();
    f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(runs.len()).unwrap())
}

/// After how many pairs half of them had ended.
fn middle(runs: &[(Verdict, usize)]) -> f64 {
    let pairs = runs.iter().map(|run| u32::try_from(run.1).unwrap());
    median(pairs.map(f64::from)).unwrap()
}

#[test]
fn equals_are_called_better_or_worse_in_two_of_a_hundred_comparisons_at_most() {
    for noise in NOISES {
        for sigma in [0.07, 0.2] {
            let runs = runs(noise, sigma, 0.0, MAX_PAIRS);
            let wrong = share(&runs, |run| run.0 != Verdict::NoDifference);
            println!("{noise:?}, {sigma} a turn: {wrong}");
            assert!(wrong <= 0.02, "{noise:?}, {sigma}: {wrong}");
        }
    }
}

#[test]
fn what_is_better_by_15_percent_is_found_in_20_pairs() {
    // 7 % in each turn; and where there are outliers or it gets ever slower, 7 % in each pair.
    let in_pairs = 0.07 / 2f64.sqrt();
    for (noise, sigma) in [
        (Noise::Normal, 0.07),
        (Noise::Lasting, 0.07),
        (Noise::Outliers, in_pairs),
        (Noise::Drift, in_pairs),
    ] {
        let runs = runs(noise, sigma, 1.15f64.ln(), 20);
        let found = share(&runs, |run| run.0 == Verdict::Better);
        println!("{noise:?}: {found}, {} pairs", middle(&runs));
        assert!(found >= 0.95, "{noise:?}: {found}");
    }
}

#[test]
fn what_is_worse_by_20_percent_is_mostly_out_within_8_pairs() {
    for (noise, least) in [
        (Noise::Normal, 0.8),
        (Noise::Lasting, 0.99),
        (Noise::Outliers, 0.5),
        (Noise::Drift, 0.8),
    ] {
        let runs = runs(noise, 0.07, 0.8f64.ln(), MAX_PAIRS);
        let out = share(&runs, |run| run.0 == Verdict::Worse && run.1 <= 8);
        println!("{noise:?}: {out}, {} pairs", middle(&runs));
        assert!(out >= least, "{noise:?}: {out}");
        let ever = share(&runs, |run| run.0 == Verdict::Worse);
        assert!(ever >= 0.98, "{noise:?}: {ever}");
    }
}

/// Tuning: sixteen sets of arguments by `Halving`, each as good as `effects` says, and then fresh pairs of the one that is left with what
/// it is compared with, whose effect is 0. Which one is left, and what the pairs say.
fn tune(noise: Noise, sigma: f64, effects: &[f64], seed: u64) -> (usize, Verdict) {
    let mut machine = Machine {
        chance: fastrand::Rng::with_seed(seed),
        noise,
        sigma,
        state: 0.0,
    };
    let mut halving = Halving::new(seed ^ 0x9e37_79b9, effects.len(), Better::Lower);
    while let Some(order) = halving.next_round() {
        let turn = |candidate: usize| (candidate, Some(machine.turn(effects[candidate])));
        let round: Vec<_> = order.into_iter().map(turn).collect();
        halving.add(&round).unwrap();
    }
    let [winner] = halving.left() else {
        panic!("{:?} are left", halving.left());
    };
    let (verdict, _) = compare(
        noise,
        sigma,
        effects[*winner],
        MAX_PAIRS,
        seed ^ 0x7f4a_7c15,
    );
    (*winner, verdict)
}

#[test]
fn the_best_of_many_equals_is_not_called_better_than_what_it_equals() {
    for noise in NOISES {
        let effects = [0.0; 16];
        let runs = (0..RUNS / 2).map(|seed| (tune(noise, 0.07, &effects, seed).1, 0));
        let runs: Vec<_> = runs.collect();
        let wrong = share(&runs, |run| run.0 == Verdict::Better);
        println!("{noise:?}: {wrong}");
        assert!(wrong <= 0.02, "{noise:?}: {wrong}");
    }
}

#[test]
fn of_sixteen_the_one_that_is_left_is_about_as_good_as_the_best_and_is_found_to_be_better() {
    // From 30 % worse to 15 % better, 3 % apart.
    let effects: Vec<f64> = (0..16).map(|it| 0.14 - 0.03 * f64::from(it)).collect();
    for (noise, sigma) in [
        (Noise::Normal, 0.07),
        (Noise::Lasting, 0.07),
        (Noise::Outliers, 0.05),
        (Noise::Drift, 0.05),
    ] {
        let runs: Vec<_> = (0..RUNS / 4)
            .map(|seed| tune(noise, sigma, &effects, seed))
            .map(|(winner, verdict)| (verdict, winner))
            .collect();
        let near = share(&runs, |run| run.1 <= 2);
        let better = share(&runs, |run| run.0 == Verdict::Better);
        println!("{noise:?}: {near} among the best three, {better} found to be better");
        assert!(near >= 0.9, "{noise:?}: {near}");
        assert!(better >= 0.8, "{noise:?}: {better}");
    }
}

/// How long a half of a turn is, in seconds.
const HALF: f64 = 7.5;

/// Which part of what the scheduler before does differently is in the middle of a half, if it fades with this time constant in seconds.
fn rest(fades: f64, settle: f64, half: f64) -> f64 {
    let begin = settle + half * HALF;
    fades / HALF * ((-begin / fades).exp() - (-(begin + HALF) / fades).exp())
}

/// For how long the schedulers settle after thirty pairs, and how far off the effect is on average in the last ten.
fn settle(noise: Noise, sigma: f64, effect: f64, fades: f64, seed: u64) -> (usize, f64) {
    let mut machine = Machine {
        chance: fastrand::Rng::with_seed(seed),
        noise,
        sigma,
        state: 0.0,
    };
    let mut plan = Plan::new(seed ^ 0x5bd1_e995, 1);
    let mut settling = Settling::default();
    let mut off = Vec::new();
    for _ in 0..MAX_PAIRS {
        let pair = plan.next(|_| true).unwrap();
        let settles = settling.time().as_secs_f64();
        let times = pair.turns().map(|arm| {
            [0.0, 1.0].map(|half| {
                let rest = if fades > 0.0 {
                    rest(fades, settles, half)
                } else {
                    0.0
                };
                machine.turn(match arm {
                    Arm::Incumbent => effect * rest,
                    Arm::Challenger(_) => effect * (1.0 - rest),
                })
            })
        });
        let [incumbent, challenger] = if pair.challenger_first {
            [times[1], times[0]]
        } else {
            times
        };
        let of = |half: usize| {
            let ratio = LogRatio::of(challenger[half], incumbent[half], Better::Lower);
            ratio.unwrap().get()
        };
        off.push((of(0) + of(1)) / 2.0 - effect);
        settling.add([of(0), of(1)]);
    }
    let step = SETTLE.iter().position(|it| *it == settling.time());
    let last = &off[MAX_PAIRS - 10..];
    (step.unwrap(), last.iter().sum::<f64>() / 10.0)
}

#[test]
fn schedulers_settle_for_longer_where_the_other_one_shows_and_seldom_else() {
    let runs = |noise, effect, fades| -> Vec<(usize, f64)> {
        let run = |seed| settle(noise, 0.07, effect, fades, seed);
        (0..RUNS).map(run).collect()
    };
    let share = |runs: &[(usize, f64)], least: usize| {
        let count = runs.iter().filter(|run| run.0 >= least).count();
        count as f64 / runs.len() as f64
    };
    for noise in NOISES {
        // Waits are a third less, and the other scheduler fades slowly, or does not show at all.
        let nothing = share(&runs(noise, 0.4, 0.0), 1);
        let equals = share(&runs(noise, 0.0, 6.0), 1);
        let shows = runs(noise, 0.4, 6.0);
        let (longer, longest) = (share(&shows, 1), share(&shows, 2));
        let off = shows.iter().map(|run| run.1).sum::<f64>() / shows.len() as f64;
        println!(
            "{noise:?}: longer in {nothing} of what does not show, {equals} of equals; {longer} and {longest} of what does, {off:.3} off at the end"
        );
        assert!(nothing <= 0.08 && equals <= 0.08, "{noise:?}");
        assert!(longer >= 0.98 && longest >= 0.7, "{noise:?}");
    }
}
