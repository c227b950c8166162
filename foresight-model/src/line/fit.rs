//! The line of one task: fitted anew each period, judged by what comes after, and given up when it is no longer of use.

use super::equations::{Equations, RIDGE};
use crate::burst::{FEATURES, MAX_DEVIATION};
use crate::fixed::{MAX_WEIGHT, ONE, from_q16, to_q16};

/// What share of the past counts after each period.
pub const FORGET: f64 = 0.9;
/// How many bursts make a period at least; until then it goes on.
pub const MIN_BURSTS: u32 = 8;
/// Over how many periods the loss is averaged before a jump of it is one.
pub const PERIODS: u32 = 10;
/// How many times its average a loss is that says that the task does something else now.
pub const JUMP: f64 = 2.0;

/// Sums of absolute errors, on bursts that the line had not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Of the line.
    pub line: f64,
    /// Of the average alone.
    pub average: f64,
    /// Of how many bursts.
    pub bursts: u32,
}

/// What becomes of the line at the end of a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// There are too few bursts to say: all stays as it is.
    TooFew,
    /// These weights are to be used from now on.
    Publish([f64; FEATURES]),
    /// The average did better: none are to be used.
    Withdraw,
}

/// What is known of a task.
#[derive(Clone, Debug)]
pub struct Fit {
    before: Equations<FEATURES>,
    period: Equations<FEATURES>,
    prior: [f64; FEATURES],
    line: Option<[f64; FEATURES]>,
    published: bool,
    losses: Losses,
    last: Option<Losses>,
    mean_loss: f64,
    periods: u32,
    bursts: u64,
}

impl Fit {
    /// Of a task of which nothing is known but what its program's other tasks do.
    #[must_use]
    pub fn new(prior: Option<[f64; FEATURES]>) -> Self {
        Self {
            before: Equations::default(),
            period: Equations::default(),
            prior: prior.unwrap_or_default(),
            line: prior,
            published: false,
            losses: Losses::default(),
            last: None,
            mean_loss: 0.0,
            periods: 0,
            bursts: 0,
        }
    }

    /// Judges the line by a burst, and learns from it.
    pub fn add(&mut self, features: &[i32; FEATURES], deviation: i32) {
        let features = features.map(from_q16);
        let deviation = from_q16(deviation);
        if let Some(line) = &self.line {
            self.losses.line += (deviation - predict(line, &features)).abs();
        }
        self.losses.average += deviation.abs();
        self.losses.bursts += 1;
        self.bursts += 1;
        self.period.add(&features, deviation);
    }

    /// Ends the period: judges the line by it, and fits another.
    pub fn refit(&mut self) -> Verdict {
        if self.losses.bursts < MIN_BURSTS {
            return self.begin();
        }
        let losses = std::mem::take(&mut self.losses);
        let judged = self.line.is_some();
        let won = !judged || losses.line < losses.average;
        if judged && self.jumped(&losses) {
            self.before = Equations::default();
            (self.mean_loss, self.periods) = (0.0, 0);
        } else {
            self.before.keep(FORGET);
        }
        self.before.add_all(&std::mem::take(&mut self.period));
        if judged {
            self.remember(&losses);
        }
        self.line = self.before.solve(RIDGE, &self.prior);
        if self.line.is_none() {
            self.before = Equations::default();
        }
        self.last = judged.then_some(losses);
        self.published = won && self.line.is_some();
        match self.line {
            Some(line) if won => Verdict::Publish(line),
            _ => Verdict::Withdraw,
        }
    }

    /// Before the first period is over: publishes what the program's other tasks do, if that is known and was not published. The
    /// task's gate says whether it does so too.
    pub fn begin(&mut self) -> Verdict {
        match self.line {
            Some(line) if !self.published && self.last.is_none() => {
                self.published = true;
                Verdict::Publish(line)
            }
            _ => Verdict::TooFew,
        }
    }

    fn jumped(&self, losses: &Losses) -> bool {
        let loss = losses.line / f64::from(losses.bursts);
        self.periods >= PERIODS && loss > JUMP * self.mean_loss
    }

    fn remember(&mut self, losses: &Losses) {
        self.periods = self.periods.saturating_add(1);
        let loss = losses.line / f64::from(losses.bursts);
        self.mean_loss += (loss - self.mean_loss) / f64::from(self.periods.min(PERIODS));
    }

    /// The line as it is, also while it is withdrawn.
    #[must_use]
    pub fn line(&self) -> Option<&[f64; FEATURES]> {
        self.line.as_ref()
    }

    /// Whether it is in use.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.published
    }

    /// How it did in the last period, if there was a line then.
    #[must_use]
    pub fn last(&self) -> Option<&Losses> {
        self.last.as_ref()
    }

    /// How many bursts it was fitted to, over all periods.
    #[must_use]
    pub fn bursts(&self) -> u64 {
        self.bursts
    }
}

/// The weights as BPF programs have them.
#[must_use]
pub fn quantised(line: &[f64; FEATURES]) -> [i32; FEATURES] {
    line.map(|weight| to_q16(weight).clamp(-MAX_WEIGHT * ONE, MAX_WEIGHT * ONE))
}

fn predict(line: &[f64; FEATURES], features: &[f64; FEATURES]) -> f64 {
    let sum: f64 = line.iter().zip(features).map(|(w, x)| w * x).sum();
    sum.clamp(f64::from(-MAX_DEVIATION), f64::from(MAX_DEVIATION))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A period of bursts that are so far from their average, and `slope` times the last one's distance more.
    fn period(fit: &mut Fit, rng: &mut fastrand::Rng, slope: f64) -> Verdict {
        for _ in 0..32 {
            let last = rng.f64() * 4.0 - 2.0;
            let mut features = [0; FEATURES];
            features[0] = ONE;
            features[1] = to_q16(last);
            fit.add(&features, to_q16(slope * last));
        }
        fit.refit()
    }

    #[test]
    fn what_is_a_line_is_learned_and_published() {
        let mut fit = Fit::new(None);
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..20 {
            period(&mut fit, &mut rng, -1.0);
        }
        assert!(fit.is_published());
        let last = fit.last().unwrap();
        assert!(last.line < 0.1 * last.average, "{last:?}");
        assert!((fit.line().unwrap()[1] + 1.0).abs() < 0.05);
    }

    #[test]
    fn a_period_goes_on_until_it_has_enough_bursts() {
        let mut fit = Fit::new(None);
        for burst in 0..MIN_BURSTS {
            assert_eq!(fit.refit(), Verdict::TooFew, "{burst}");
            fit.add(&[ONE; FEATURES], ONE);
        }
        assert!(matches!(fit.refit(), Verdict::Publish(_)));
        assert_eq!(fit.refit(), Verdict::TooFew);
    }

    #[test]
    fn what_lost_to_the_average_is_withdrawn_and_comes_back_when_it_wins() {
        let mut fit = Fit::new(None);
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..5 {
            period(&mut fit, &mut rng, 1.0);
        }
        assert!(fit.is_published());
        assert_eq!(period(&mut fit, &mut rng, -1.0), Verdict::Withdraw);
        assert!(!fit.is_published());
        let periods = (1..100).find(|_| period(&mut fit, &mut rng, -1.0) != Verdict::Withdraw);
        assert!(periods.unwrap() < 20, "{periods:?}");
    }

    #[test]
    fn a_jump_of_the_loss_has_the_past_forgotten() {
        let mut fit = Fit::new(None);
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..2 * PERIODS {
            period(&mut fit, &mut rng, 1.0);
        }
        // The period in which it is noticed, and one more in which the new line is judged.
        assert_eq!(period(&mut fit, &mut rng, -1.0), Verdict::Withdraw);
        assert!((fit.line().unwrap()[1] + 1.0).abs() < 0.3);
        assert!(matches!(
            period(&mut fit, &mut rng, -1.0),
            Verdict::Publish(_)
        ));
    }

    #[test]
    fn a_prior_is_published_at_once_and_judged_as_any_line() {
        let mut prior = [0.0; FEATURES];
        prior[1] = 1.0;
        let mut fit = Fit::new(Some(prior));
        assert_eq!(fit.refit(), Verdict::Publish(prior));
        assert_eq!(fit.refit(), Verdict::TooFew);
        let mut rng = fastrand::Rng::with_seed(5);
        assert_eq!(period(&mut fit, &mut rng, -1.0), Verdict::Withdraw);
    }

    #[test]
    fn weights_that_are_too_large_are_cut() {
        let line = [1.0, -1000.0, 1000.0, f64::NAN, 0.5, 0.0, 0.0, 0.0];
        let weights = quantised(&line);
        assert_eq!(weights[..4], [ONE, -64 * ONE, 64 * ONE, 0]);
    }
}
