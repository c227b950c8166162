//! When a job that is profiled is harmed so much that it is to end. Pure.

use std::time::Duration;

/// By how many times what it was alone it may wait for CPUs.
const TIMES: f64 = 2.0;
/// What is less than this says nothing, in parts of the time.
const NOTHING: f64 = 0.05;

/// How much a job waits for CPUs when it is alone, in parts of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Harm {
    pressure: Option<f64>,
    delay: Option<f64>,
}

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum TooMuch {
    /// Some of its tasks wait for a CPU, as its cgroup says.
    #[error("some of it waits for a CPU for {:.0} % of the time", 100.0 * .0)]
    Pressure(f64),
    /// Its threads wait longer before they run.
    #[error("it waits for {:.0} % of the time that it runs", 100.0 * .0)]
    Delay(f64),
}

impl Harm {
    /// Takes into account what was so while the job was alone: the most of it counts.
    pub fn add(&mut self, pressure: Option<f64>, delay: Option<f64>) {
        let most = |before: &mut Option<f64>, now: Option<f64>| {
            *before = match (*before, now) {
                (Some(before), Some(now)) => Some(before.max(now)),
                (before, now) => before.or(now),
            };
        };
        most(&mut self.pressure, pressure);
        most(&mut self.delay, delay);
    }

    /// Whether it is harmed now. What was not known alone is compared with nothing.
    ///
    /// # Errors
    /// When it is too much.
    pub fn judge(&self, pressure: Option<f64>, delay: Option<f64>) -> Result<(), TooMuch> {
        let too_much = |alone: Option<f64>, now: Option<f64>| {
            now.filter(|now| *now > (TIMES * alone.unwrap_or(0.0)).max(NOTHING))
        };
        if let Some(pressure) = too_much(self.pressure, pressure) {
            return Err(TooMuch::Pressure(pressure));
        }
        match too_much(self.delay, delay) {
            Some(delay) => Err(TooMuch::Delay(delay)),
            None => Ok(()),
        }
    }
}

/// Which part of a time this is; `None` where that is none.
pub(super) fn part(of: Option<Duration>, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| Some(of?.as_secs_f64() / time.as_secs_f64()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_as_much_as_alone_is_too_much_and_next_to_nothing_is_not() {
        let mut harm = Harm::default();
        harm.add(Some(0.02), Some(0.1));
        harm.add(Some(0.01), None);
        assert_eq!(harm.judge(Some(0.04), Some(0.19)), Ok(()));
        assert_eq!(
            harm.judge(Some(0.06), Some(0.1)),
            Err(TooMuch::Pressure(0.06))
        );
        assert_eq!(harm.judge(None, Some(0.21)), Err(TooMuch::Delay(0.21)));
        assert_eq!(harm.judge(None, None), Ok(()));
        assert_eq!(Harm::default().judge(Some(0.04), None), Ok(()));
    }

    #[test]
    fn a_part_of_no_time_is_none() {
        let second = Duration::from_secs(1);
        assert_eq!(part(Some(second / 4), second), Some(0.25));
        assert_eq!(part(Some(second), Duration::ZERO), None);
        assert_eq!(part(None, second), None);
    }
}
