//! What is known of one task: its bursts' average, and whether its line does better than that.

use super::features::{FEATURES, LEVEL, Wakeup, feature};
use super::gate::Gate;
use crate::fixed::{ONE, log2_q16};

/// The average goes a quarter of the way to each burst.
pub const AVERAGE_SHIFT: u32 = 2;
/// What the average is of a task that has not run: 2^18 ns, a quarter of a millisecond.
pub const FIRST_AVERAGE: i32 = 18 * ONE;
/// What shorter bursts are taken for.
pub const MIN_BURST_NS: u64 = 1000;

/// A task, as its BPF context has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    last: i32,
    before: i32,
    average: i32,
    slept: i32,
    slept_before: i32,
    gate: Gate,
    bursts: u32,
}

/// A burst that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The logarithm of its length.
    pub length: i32,
    /// That, minus the average of those before: what lines are fitted to.
    pub deviation: i32,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            last: FIRST_AVERAGE,
            before: FIRST_AVERAGE,
            average: FIRST_AVERAGE,
            slept: 0,
            slept_before: 0,
            gate: Gate::default(),
            bursts: 0,
        }
    }
}

impl Task {
    /// The features of this wakeup. Each wakeup once: they remember how long the task slept.
    pub fn wake(&mut self, wakeup: &Wakeup) -> [i32; FEATURES] {
        self.slept_before = self.slept;
        self.slept = feature(log2_q16(wakeup.slept_ns) - LEVEL * ONE);
        [
            ONE,
            feature(self.last - self.average),
            feature(self.before - self.average),
            feature(self.average - LEVEL * ONE),
            self.slept,
            self.slept_before,
            if wakeup.own_process { ONE } else { 0 },
            if wakeup.from_idle { ONE } else { 0 },
        ]
    }

    /// The average of the logarithms of its bursts.
    #[must_use]
    pub fn average(&self) -> i32 {
        self.average
    }

    /// The logarithm of its last burst.
    #[must_use]
    pub fn last(&self) -> i32 {
        self.last
    }

    /// How many bursts it had.
    #[must_use]
    pub fn bursts(&self) -> u32 {
        self.bursts
    }

    /// The mean errors of the average and of the line.
    #[must_use]
    pub fn errors(&self) -> (i32, i32) {
        self.gate.errors()
    }

    /// Whether the line is used: it was judged often enough, and did better than the average.
    #[must_use]
    pub fn uses_line(&self) -> bool {
        self.gate.is_open()
    }

    /// The burst is over, for which a line, if there was one, said `deviation`. It is judged first and learned from afterwards.
    pub fn end(&mut self, ran_ns: u64, deviation: Option<i32>) -> Burst {
        let length = log2_q16(ran_ns.max(MIN_BURST_NS));
        let residual = length - self.average;
        let burst = Burst {
            length,
            deviation: residual,
        };
        if self.bursts == 0 {
            (self.last, self.before, self.average) = (length, length, length);
        } else {
            if let Some(deviation) = deviation {
                self.gate.judge(residual, deviation);
            }
            (self.before, self.last) = (self.last, length);
            self.average += residual >> AVERAGE_SHIFT;
        }
        self.bursts = self.bursts.saturating_add(1);
        burst
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixed::MAX_FEATURE;

    #[test]
    fn the_first_burst_is_the_average() {
        let mut task = Task::default();
        task.end(1 << 20, None);
        assert_eq!(task.average(), 20 * ONE);
        task.end(1 << 24, None);
        assert_eq!(task.average(), 21 * ONE);
    }

    #[test]
    fn a_line_is_used_once_it_did_better_for_long_enough() {
        let mut task = Task::default();
        task.end(1 << 20, None);
        for burst in 0..20 {
            let length = if burst % 2 == 0 { 16 } else { 20 };
            let truth = length * ONE - task.average();
            assert_eq!(task.uses_line(), burst >= 8, "{burst}");
            task.end(1 << length, Some(truth));
        }
        let (average, line) = task.errors();
        assert!(line < average);
        // It does worse from now on.
        for _ in 0..64 {
            task.end(1 << 20, Some(6 * ONE));
        }
        assert!(!task.uses_line());
    }

    #[test]
    fn what_a_line_would_have_said_of_the_first_burst_does_not_count() {
        let mut task = Task::default();
        task.end(1 << 30, Some(0));
        assert_eq!(task.errors(), (ONE, ONE));
    }

    proptest! {
        #[test]
        fn whatever_happens_features_stay_in_their_bounds(
            bursts in prop::collection::vec((any::<u64>(), any::<u64>(), any::<Option<i16>>()), 1..100)
        ) {
            let mut task = Task::default();
            for (ran, slept_ns, deviation) in bursts {
                let features = task.wake(&Wakeup { slept_ns, ..Wakeup::default() });
                prop_assert!(features.iter().all(|x| x.abs() <= MAX_FEATURE * ONE), "{features:?}");
                task.end(ran, deviation.map(|d| i32::from(d) * 10));
                prop_assert!((0..64 * ONE).contains(&task.average()));
            }
        }
    }
}
