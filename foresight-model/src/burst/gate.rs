//! Whether a task's line does better than its average: both are judged by each burst, and only the better one is used.

use crate::fixed::ONE;

/// Errors are averaged by steps of a 32th.
pub const ERROR_SHIFT: u32 = 5;
/// How many bursts a line is judged by at least before it is used.
pub const MIN_JUDGED: u32 = 8;

/// The mean absolute errors of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    average_error: i32,
    line_error: i32,
    judged: u32,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            average_error: ONE,
            line_error: ONE,
            judged: 0,
        }
    }
}

impl Gate {
    /// A burst was so far from the average, and the line had said `said`.
    pub fn judge(&mut self, deviation: i32, said: i32) {
        let line_error = (deviation - said).abs();
        self.line_error += (line_error - self.line_error) >> ERROR_SHIFT;
        self.average_error += (deviation.abs() - self.average_error) >> ERROR_SHIFT;
        self.judged = self.judged.saturating_add(1);
    }

    /// Whether the line is to be used.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.judged >= MIN_JUDGED && self.line_error < self.average_error
    }

    /// The mean errors of the average and of the line.
    #[must_use]
    pub fn errors(&self) -> (i32, i32) {
        (self.average_error, self.line_error)
    }
}
