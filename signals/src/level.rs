//! HIGH and LOW with hysteresis. Pure: time comes in as the length of each window.
//!
//! A level follows the mean of its signal over the last `settle` (the policy's word; [`Threshold::mean_over`] here): it
//! becomes HIGH when that mean reaches `high` and LOW when it falls to `low`. So a strong change counts soon and a
//! marginal one later, and a load that comes in bursts counts as the same load without them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::signal::{Signal, Signals};

/// Whether a signal is high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// At or above its `high` threshold, or not yet down to `low` since.
    High,
    /// At or below its `low` threshold, or not yet up to `high` since.
    Low,
    /// Not measured on this machine.
    Unknown,
}

impl Level {
    /// The name in policies, on D-Bus and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// When a signal becomes HIGH and when LOW again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// HIGH when the mean is at least this, in the unit of the signal.
    pub high: f64,
    /// LOW when the mean is at most this; below `high`.
    pub low: f64,
    /// The time over which the signal's mean is taken, 0 to 60 s in a policy, where its key is `settle`. With 0 each
    /// window counts by itself.
    pub mean_over: Duration,
}

/// The threshold of every signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds([Threshold; Signal::ALL.len()]);

impl Thresholds {
    /// The threshold of `signal`.
    #[must_use]
    pub fn get(&self, signal: Signal) -> Threshold {
        self.0[signal as usize]
    }

    /// Sets the threshold of `signal`.
    pub fn set(&mut self, signal: Signal, threshold: Threshold) {
        self.0[signal as usize] = threshold;
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        let threshold = |high, low| Threshold {
            high,
            low,
            mean_over: Duration::from_millis(400),
        };
        Self(Signal::ALL.map(|signal| match signal {
            Signal::Cpu => threshold(0.75, 0.55),
            Signal::Parallel => threshold(0.6, 0.3),
            Signal::Contended => threshold(0.5, 0.25),
            // What starts up is read from disks first.
            Signal::Io => Threshold {
                mean_over: Duration::from_millis(700),
                ..threshold(0.15, 0.08)
            },
            Signal::Net => threshold(0.1, 0.05),
            // What maps and unmaps memory works on it in between, and what starts up takes memory.
            Signal::Mem => Threshold {
                mean_over: Duration::from_millis(1200),
                ..threshold(0.04, 0.01)
            },
            // What starts up does so in short bursts.
            Signal::Interactive => Threshold {
                mean_over: Duration::from_secs(1),
                ..threshold(0.55, 0.35)
            },
        }))
    }
}

/// The level of every signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels([Level; Signal::ALL.len()]);

impl Levels {
    /// Every signal at this level.
    #[must_use]
    pub fn all(level: Level) -> Self {
        Self([level; Signal::ALL.len()])
    }

    /// The level of `signal`.
    #[must_use]
    pub fn get(&self, signal: Signal) -> Level {
        self.0[signal as usize]
    }

    /// Sets the level of `signal`.
    pub fn set(&mut self, signal: Signal, level: Level) {
        self.0[signal as usize] = level;
    }

    /// Each signal with its level.
    pub fn iter(&self) -> impl Iterator<Item = (Signal, Level)> + '_ {
        Signal::ALL
            .into_iter()
            .map(|signal| (signal, self.get(signal)))
    }

    /// The names of the levels by those of the signals, as on D-Bus and in JSON.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter()
            .map(|(signal, level)| (signal.to_string(), level.to_string()))
            .collect()
    }
}

/// The last windows of one signal, from which its mean is taken.
#[derive(Clone, Debug, Default, PartialEq)]
struct Mean {
    windows: VecDeque<(Duration, f64)>,
}

impl Mean {
    /// Adds a window and returns the mean over the last `mean_over`. Time before the first window counts as if the
    /// signal had been zero, so that one window alone cannot change a level.
    fn push(&mut self, dt: Duration, value: f64, mean_over: Duration) -> f64 {
        self.windows.push_back((dt, value));
        if mean_over.is_zero() {
            self.windows.drain(..self.windows.len() - 1);
            return value;
        }
        let (mean, needed) = self.over(mean_over);
        self.windows.drain(..self.windows.len() - needed);
        mean
    }

    /// The mean over the last `mean_over`, which is more than nothing, and how many windows it is of.
    fn over(&self, mean_over: Duration) -> (f64, usize) {
        let mut area = 0.0;
        let mut left = mean_over;
        let mut needed = 0;
        for (dt, value) in self.windows.iter().rev() {
            let part = left.min(*dt);
            area += part.as_secs_f64() * value;
            left -= part;
            needed += 1;
            if left.is_zero() {
                break;
            }
        }
        (area / mean_over.as_secs_f64(), needed)
    }

    /// From now on the mean is taken over a longer time. What was before the windows that are remembered was like them.
    fn look_further_back(&mut self, from: Duration, to: Duration) {
        let Some(more) = to.checked_sub(from).filter(|more| !more.is_zero()) else {
            return;
        };
        let mean = match (from.is_zero(), self.windows.back()) {
            (_, None) => return,
            (true, Some((_, value))) => *value,
            (false, Some(_)) => self.over(from).0,
        };
        self.windows.push_front((more, mean));
    }
}

/// The levels, followed from window to window.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelTracker {
    thresholds: Thresholds,
    means: [Mean; Signal::ALL.len()],
    levels: Levels,
}

impl LevelTracker {
    /// Starts with every level LOW.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            means: Default::default(),
            levels: Levels::all(Level::Low),
        }
    }

    /// The levels as of the last window.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.levels
    }

    /// Whether a level will change if the next windows are like the last one.
    #[must_use]
    pub fn may_change(&self) -> bool {
        Signal::ALL.into_iter().any(|signal| {
            let threshold = self.thresholds.get(signal);
            let last = self.means[signal as usize].windows.back();
            last.is_some_and(|(_, value)| match self.levels.get(signal) {
                Level::High => *value <= threshold.low,
                Level::Low | Level::Unknown => *value >= threshold.high,
            })
        })
    }

    /// The thresholds in force.
    #[must_use]
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// Continues with other thresholds; levels stay until the next window.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        for signal in Signal::ALL {
            let (from, to) = (self.thresholds.get(signal), thresholds.get(signal));
            self.means[signal as usize].look_further_back(from.mean_over, to.mean_over);
        }
        self.thresholds = thresholds;
    }

    /// Takes in one window of length `dt` and returns the levels after it. A signal that was not measured has the level
    /// [`Level::Unknown`] until it is, and LOW or HIGH at once then.
    pub fn update(&mut self, dt: Duration, signals: &Signals) -> Levels {
        for signal in Signal::ALL {
            let threshold = self.thresholds.get(signal);
            let mean = &mut self.means[signal as usize];
            let level = match signals.get(signal) {
                None => {
                    mean.windows.clear();
                    Level::Unknown
                }
                Some(value) => {
                    let mean = mean.push(dt, value, threshold.mean_over);
                    if mean >= threshold.high {
                        Level::High
                    } else if mean <= threshold.low || self.levels.get(signal) == Level::Unknown {
                        Level::Low
                    } else {
                        self.levels.get(signal)
                    }
                }
            };
            self.levels.set(signal, level);
        }
        self.levels
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(250);

    fn cpu(value: Option<f64>) -> Signals {
        let mut signals = Signals::default();
        signals.set(Signal::Cpu, value);
        signals
    }

    fn tracker() -> LevelTracker {
        let mut thresholds = Thresholds::default();
        thresholds.set(
            Signal::Cpu,
            Threshold {
                high: 0.75,
                low: 0.55,
                mean_over: Duration::from_secs(1),
            },
        );
        LevelTracker::new(thresholds)
    }

    fn after(tracker: &mut LevelTracker, windows: usize, value: f64) -> Level {
        for _ in 0..windows {
            tracker.update(WINDOW, &cpu(Some(value)));
        }
        tracker.levels().get(Signal::Cpu)
    }

    #[test]
    fn a_full_load_is_high_before_the_time_of_the_mean_is_over_and_a_spike_is_not() {
        let mut tracker = tracker();
        assert_eq!(after(&mut tracker, 2, 1.0), Level::Low);
        assert_eq!(after(&mut tracker, 1, 1.0), Level::High);
    }

    #[test]
    fn a_level_may_change_from_the_first_window_that_is_unlike_it_until_it_does() {
        let mut tracker = tracker();
        let may_change: Vec<bool> = [0.0, 0.7, 1.0, 1.0, 1.0, 0.6, 0.5, 0.0, 0.0, 0.0]
            .map(|value| {
                after(&mut tracker, 1, value);
                tracker.may_change()
            })
            .to_vec();
        let high = [false, false, true, true, false];
        let low = [false, true, false, false, false];
        assert_eq!(may_change, [high, low].concat());
        tracker.update(WINDOW, &cpu(None));
        assert!(!tracker.may_change());
    }

    #[test]
    fn only_the_time_of_the_mean_counts_however_long_the_windows_are() {
        let milliseconds = Duration::from_millis;
        let mut tracker = tracker();
        tracker.update(milliseconds(900), &cpu(Some(0.0)));
        tracker.update(milliseconds(400), &cpu(Some(1.0)));
        let level = |tracker: &mut LevelTracker, dt| {
            tracker
                .update(milliseconds(dt), &cpu(Some(1.0)))
                .get(Signal::Cpu)
        };
        assert_eq!(level(&mut tracker, 349), Level::Low);
        assert_eq!(level(&mut tracker, 2), Level::High);
    }

    #[test]
    fn a_level_stays_when_the_mean_is_taken_over_a_longer_time_from_now_on() {
        for mean_over in [Duration::ZERO, Duration::from_secs(1)] {
            let with = |mean_over| {
                let mut thresholds = *tracker().thresholds();
                let threshold = thresholds.get(Signal::Cpu);
                thresholds.set(
                    Signal::Cpu,
                    Threshold {
                        mean_over,
                        ..threshold
                    },
                );
                thresholds
            };
            let mut tracker = LevelTracker::new(with(mean_over));
            assert_eq!(after(&mut tracker, 20, 0.9), Level::High);
            tracker.set_thresholds(with(Duration::from_secs(30)));
            assert_eq!(after(&mut tracker, 1, 0.9), Level::High);
            assert_eq!(after(&mut tracker, 20, 0.9), Level::High);
            // It looks back as far as it says.
            assert_eq!(after(&mut tracker, 20, 0.0), Level::High);
            assert_eq!(after(&mut tracker, 40, 0.0), Level::Low);
        }
    }

    #[test]
    fn between_the_thresholds_nothing_changes() {
        let mut tracker = tracker();
        assert_eq!(after(&mut tracker, 20, 0.7), Level::Low);
        assert_eq!(after(&mut tracker, 20, 0.8), Level::High);
        assert_eq!(after(&mut tracker, 20, 0.6), Level::High);
        assert_eq!(after(&mut tracker, 20, 0.5), Level::Low);
    }

    #[test]
    fn what_cannot_be_measured_is_unknown_and_comes_back_as_low() {
        let mut tracker = tracker();
        after(&mut tracker, 20, 1.0);
        assert_eq!(
            tracker.update(WINDOW, &cpu(None)).get(Signal::Cpu),
            Level::Unknown
        );
        assert_eq!(after(&mut tracker, 1, 0.0), Level::Low);
    }

    proptest! {
        #[test]
        fn a_signal_that_stays_between_the_thresholds_never_changes_a_level(
            values in prop::collection::vec(0.56f64..0.74, 1..200), start_high: bool,
        ) {
            let mut tracker = tracker();
            let start = after(&mut tracker, 20, if start_high { 1.0 } else { 0.6 });
            // The windows from before still count until the time of the mean is over.
            after(&mut tracker, 4, 0.65);
            for value in values {
                prop_assert_eq!(after(&mut tracker, 1, value), start);
            }
        }

    }
}
