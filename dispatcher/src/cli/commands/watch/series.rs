//! The recent past of one signal: a value and a level for each second. Pure.

use std::collections::VecDeque;

use auto_ext_signals::Level;

/// How many seconds are kept.
const KEPT: usize = 600;

/// One second of a signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Second {
    /// In the unit of the signal; `None` when it was not measured.
    pub(super) value: Option<f64>,
    /// Its level.
    pub(super) level: Level,
}

/// The last seconds of a signal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    seconds: VecDeque<Second>,
    /// How many there were in all, so that columns keep their seconds while time goes on.
    pushed: usize,
}

impl Series {
    /// Adds a second.
    pub(super) fn push(&mut self, second: Second) {
        self.seconds.push_back(second);
        self.pushed += 1;
        if self.seconds.len() > KEPT {
            self.seconds.pop_front();
        }
    }

    /// The past in up to `count` columns of `each` seconds, the newest last: the highest value of
    /// each column, and whether its level was high.
    pub(super) fn columns(&self, count: usize, each: usize) -> Vec<Second> {
        let each = each.max(1);
        let first = self.pushed - self.seconds.len();
        let mut columns: Vec<(usize, Second)> = Vec::new();
        for (number, second) in (first..).zip(&self.seconds) {
            match columns.last_mut() {
                Some((column, highest)) if *column == number / each => {
                    highest.value = highest.value.max_by_value(second.value);
                    if second.level == Level::High {
                        highest.level = Level::High;
                    }
                }
                _ => columns.push((number / each, *second)),
            }
        }
        let skipped = columns.len().saturating_sub(count);
        columns
            .into_iter()
            .skip(skipped)
            .map(|(_, second)| second)
            .collect()
    }
}

/// How many seconds each of `columns` stands for so that all of them show a minute at least.
pub(super) fn seconds_per_column(columns: usize) -> usize {
    60_usize.div_ceil(columns.max(1))
}

trait MaxByValue {
    fn max_by_value(self, other: Self) -> Self;
}

impl MaxByValue for Option<f64> {
    fn max_by_value(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn low(value: f64) -> Second {
        Second {
            value: Some(value),
            level: Level::Low,
        }
    }

    fn values(columns: &[Second]) -> Vec<Option<f64>> {
        columns.iter().map(|column| column.value).collect()
    }

    #[test]
    fn a_column_shows_its_highest_second_and_keeps_its_seconds() {
        let mut series = Series::default();
        for value in [1.0, 5.0, 2.0, 3.0] {
            series.push(low(value));
        }
        assert_eq!(values(&series.columns(9, 2)), [Some(5.0), Some(3.0)]);
        series.push(low(9.0));
        assert_eq!(
            values(&series.columns(9, 2)),
            [Some(5.0), Some(3.0), Some(9.0)]
        );
        assert_eq!(values(&series.columns(2, 2)), [Some(3.0), Some(9.0)]);
    }

    #[test]
    fn a_second_without_a_value_is_not_zero_and_a_high_one_shows() {
        let mut series = Series::default();
        series.push(Second {
            value: None,
            level: Level::Unknown,
        });
        assert_eq!(values(&series.columns(3, 1)), [None]);
        series.push(Second {
            value: Some(1.0),
            level: Level::High,
        });
        series.push(low(0.0));
        series.push(low(0.0));
        assert_eq!(series.columns(1, 4)[0].level, Level::High);
    }

    #[test]
    fn ten_minutes_are_kept_and_any_width_shows_a_minute() {
        let mut series = Series::default();
        (0..2000).for_each(|second| series.push(low(f64::from(second))));
        assert_eq!(series.columns(usize::MAX, 1).len(), KEPT);
        for columns in 0..200 {
            assert!(columns.max(1) * seconds_per_column(columns) >= 60);
        }
    }
}
