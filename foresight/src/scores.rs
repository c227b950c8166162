//! How well bursts are predicted: sums of errors, and what follows from them. Every error counts before anything is learned from
//! its burst.

use foresight_model::fixed::from_q16;
use serde::{Deserialize, Serialize};

use crate::sample::Sample;

/// Sums over bursts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scores {
    bursts: f64,
    with_line: f64,
    chosen: f64,
    length: f64,
    length_squared: f64,
    last: Sums,
    average: Sums,
    line: Sums,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    absolute: f64,
    squared: f64,
}

/// How well one way of predicting did, on logarithms to base 2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Score {
    /// The mean absolute error: 1 is a factor of two.
    pub(crate) mae: f64,
    /// Which share of what differs between bursts it explains; below 0 it is worse than one number for all.
    pub(crate) r2: f64,
}

/// What is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// How many bursts count, of which older ones count for less.
    pub(crate) bursts: f64,
    /// The share of bursts of which there was a line.
    pub(crate) with_line: f64,
    /// The share of which it was chosen.
    pub(crate) chosen: f64,
    pub(crate) last: Score,
    pub(crate) average: Score,
    pub(crate) line: Score,
}

impl Sums {
    fn add(&mut self, error: f64) {
        self.absolute += error.abs();
        self.squared += error * error;
    }

    fn keep(&mut self, share: f64) {
        self.absolute *= share;
        self.squared *= share;
    }

    fn score(&self, bursts: f64, variance: f64) -> Score {
        let explained = if variance > 0.0 {
            1.0 - self.squared / bursts / variance
        } else {
            0.0
        };
        Score {
            mae: self.absolute / bursts,
            r2: explained,
        }
    }
}

impl Scores {
    /// Counts a burst.
    pub(crate) fn add(&mut self, sample: &Sample) {
        let errors = sample.errors();
        let length = from_q16(sample.length);
        self.bursts += 1.0;
        self.with_line += f64::from(u8::from(sample.deviation.is_some()));
        self.chosen += f64::from(u8::from(sample.chosen));
        self.length += length;
        self.length_squared += length * length;
        self.last.add(errors.last);
        self.average.add(errors.average);
        self.line.add(errors.line);
    }

    /// Has all bursts so far count for this share of what they did.
    pub(crate) fn keep(&mut self, share: f64) {
        for sum in [
            &mut self.bursts,
            &mut self.with_line,
            &mut self.chosen,
            &mut self.length,
            &mut self.length_squared,
        ] {
            *sum *= share;
        }
        for sums in [&mut self.last, &mut self.average, &mut self.line] {
            sums.keep(share);
        }
    }

    /// How many bursts count.
    pub(crate) fn bursts(&self) -> f64 {
        self.bursts
    }

    /// The error of lines, where they are chosen, as a share of what it would be without; `None` if there is nothing to compare.
    pub(crate) fn ratio(&self) -> Option<f64> {
        (self.average.absolute > 0.0).then(|| self.line.absolute / self.average.absolute)
    }

    /// What there is to say; `None` of no bursts.
    pub(crate) fn summary(&self) -> Option<Summary> {
        if self.bursts <= 0.0 {
            return None;
        }
        let mean = self.length / self.bursts;
        let variance = self.length_squared / self.bursts - mean * mean;
        let score = |sums: &Sums| sums.score(self.bursts, variance);
        Some(Summary {
            bursts: self.bursts,
            with_line: self.with_line / self.bursts,
            chosen: self.chosen / self.bursts,
            last: score(&self.last),
            average: score(&self.average),
            line: score(&self.line),
        })
    }
}

#[cfg(test)]
mod tests {
    use foresight_model::fixed::ONE;

    use super::*;
    use crate::sample::tests::sample;

    #[test]
    fn a_perfect_line_explains_all_and_the_average_what_it_does() {
        let mut scores = Scores::default();
        for burst in 0..10 {
            let mut of_two = sample(1, Some(ONE), true);
            // 2^19 and 2^21 by turns, around an average of 2^20.
            let deviation = if burst % 2 == 0 { ONE } else { -ONE };
            (of_two.length, of_two.deviation) = (20 * ONE + deviation, Some(deviation));
            scores.add(&of_two);
        }
        let summary = scores.summary().unwrap();
        assert_eq!(summary.line, Score { mae: 0.0, r2: 1.0 });
        assert_eq!(summary.average, Score { mae: 1.0, r2: 0.0 });
        assert_eq!(
            (summary.bursts, summary.with_line, summary.chosen),
            (10.0, 1.0, 1.0)
        );
        assert_eq!(scores.ratio(), Some(0.0));
    }

    #[test]
    fn the_past_counts_for_less_and_nothing_says_nothing() {
        assert_eq!(Scores::default().summary(), None);
        assert_eq!(Scores::default().ratio(), None);
        let mut scores = Scores::default();
        scores.add(&sample(1, None, false));
        let before = scores.summary().unwrap();
        scores.keep(0.5);
        let after = scores.summary().unwrap();
        assert_eq!((after.bursts, after.average.mae), (0.5, before.average.mae));
    }
}
