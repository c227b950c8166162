//! How well bursts are predicted, by the last one, by the average and by lines. In log2 of nanoseconds.

use crate::fixed::from_q16;

/// How well something predicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The share of the variance that it explains; below 0, it is worse than always saying the mean. `None` if nothing varies.
    pub r2: Option<f64>,
    /// The mean absolute error.
    pub mae: f64,
}

/// How well all of them do on the same bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// How many.
    pub bursts: u64,
    /// Of taking the last burst for the next.
    pub last: Score,
    /// Of the average alone.
    pub average: Score,
    /// Of what was predicted: by lines, where the gate lets them, and else by the average.
    pub predicted: Score,
    /// For which share of bursts a line did.
    pub used: f64,
}

/// A burst beside what was said of it; logarithms in Q16.16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predicted {
    /// How long it was.
    pub length: i32,
    /// How long the one before was.
    pub last: i32,
    /// The average of those before.
    pub average: i32,
    /// How far from that the line said it would be, if it was used.
    pub line: Option<i32>,
}

/// Sums of errors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    bursts: u64,
    used: u64,
    sum: f64,
    squares: f64,
    last: Errors,
    average: Errors,
    predicted: Errors,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Errors {
    absolute: f64,
    squared: f64,
}

impl Errors {
    fn add(&mut self, error: f64) {
        self.absolute += error.abs();
        self.squared += error * error;
    }
}

impl Tally {
    /// Adds a burst.
    pub fn add(&mut self, burst: &Predicted) {
        let [length, last, average] = [burst.length, burst.last, burst.average].map(from_q16);
        self.bursts += 1;
        self.used += u64::from(burst.line.is_some());
        self.sum += length;
        self.squares += length * length;
        self.last.add(length - last);
        self.average.add(length - average);
        let line = from_q16(burst.line.unwrap_or_default());
        self.predicted.add(length - average - line);
    }

    /// The sums of the absolute errors of the average, and of what was predicted.
    #[must_use]
    pub fn errors(&self) -> [f64; 2] {
        [self.average.absolute, self.predicted.absolute]
    }

    /// How many bursts there are.
    #[must_use]
    pub fn bursts(&self) -> u64 {
        self.bursts
    }

    /// What comes of them; `None` without a burst.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "so many bursts there are not")]
    pub fn scores(&self) -> Option<Scores> {
        let count = self.bursts as f64;
        if self.bursts == 0 {
            return None;
        }
        let variance = self.squares - self.sum * self.sum / count;
        // What is left of equal numbers is rounding.
        let varies = variance > 1e-9 * self.squares;
        let score = |errors: Errors| Score {
            r2: varies.then(|| 1.0 - errors.squared / variance),
            mae: errors.absolute / count,
        };
        Some(Scores {
            bursts: self.bursts,
            last: score(self.last),
            average: score(self.average),
            predicted: score(self.predicted),
            used: self.used as f64 / count,
        })
    }
}

impl Scores {
    /// The error of what was predicted, as a multiple of the average's; 1 where both are 0.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.predicted.mae == self.average.mae {
            1.0
        } else {
            self.predicted.mae / self.average.mae
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::ONE;

    fn burst(length: i32, last: i32, average: i32, line: Option<i32>) -> Predicted {
        Predicted {
            length: length * ONE,
            last: last * ONE,
            average: average * ONE,
            line: line.map(|line| line * ONE),
        }
    }

    #[test]
    fn who_is_always_right_explains_all_and_who_says_the_mean_nothing() {
        let mut tally = Tally::default();
        tally.add(&burst(16, 20, 18, Some(-2)));
        tally.add(&burst(20, 16, 18, Some(2)));
        let scores = tally.scores().unwrap();
        assert_eq!(
            scores.predicted,
            Score {
                r2: Some(1.0),
                mae: 0.0
            }
        );
        assert_eq!(
            scores.average,
            Score {
                r2: Some(0.0),
                mae: 2.0
            }
        );
        assert_eq!(
            scores.last,
            Score {
                r2: Some(-3.0),
                mae: 4.0
            }
        );
        assert!(scores.used == 1.0 && scores.ratio() == 0.0);
        assert_eq!(tally.errors(), [4.0, 0.0]);
    }

    #[test]
    fn of_bursts_that_do_not_vary_no_share_is_explained() {
        assert_eq!(Tally::default().scores(), None);
        let mut tally = Tally::default();
        for _ in 0..1000 {
            tally.add(&burst(17, 17, 17, None));
        }
        let scores = tally.scores().unwrap();
        assert_eq!(scores.predicted, Score { r2: None, mae: 0.0 });
        assert!(scores.used == 0.0 && scores.ratio() == 1.0);
    }
}
