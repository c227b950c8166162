//! The features of a wakeup, and the line that makes a prediction of them.

use crate::fixed::{MAX_FEATURE, ONE, clamp_q16, dot};

/// How many there are, with the one that is always 1:
///
/// | | |
/// |---|---|
/// | 0 | 1 |
/// | 1, 2 | the last burst and the one before, minus their average |
/// | 3 | the average, minus [`LEVEL`] |
/// | 4, 5 | the sleep before this wakeup and the one before, minus [`LEVEL`] |
/// | 6 | whether a thread of its own process woke it |
/// | 7 | whether it was woken from the idle task: by an interrupt or a timer |
pub const FEATURES: usize = 8;
/// What is subtracted from logarithms of nanoseconds that are features: 2^15 ns, some 33 us.
pub const LEVEL: i32 = 15;
/// How far a line may take a prediction away from the average, either side: a factor of 64.
pub const MAX_DEVIATION: i32 = 6;

/// A wakeup, beside what is known of the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakeup {
    /// How long the task slept.
    pub slept_ns: u64,
    /// Whether a thread of its process woke it.
    pub own_process: bool,
    /// Whether it was woken from the idle task.
    pub from_idle: bool,
}

/// What a line says: how far from the average the burst will be.
#[must_use]
pub fn deviation(weights: &[i32; FEATURES], features: &[i32; FEATURES]) -> i32 {
    clamp_q16(dot(weights, features) >> 16, MAX_DEVIATION * ONE)
}

/// Within what a feature may be.
pub(super) fn feature(value: i32) -> i32 {
    clamp_q16(i64::from(value), MAX_FEATURE * ONE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixed::MAX_WEIGHT;

    #[test]
    fn without_weights_there_is_no_deviation() {
        assert_eq!(deviation(&[0; FEATURES], &[ONE; FEATURES]), 0);
    }

    proptest! {
        #[test]
        fn no_weights_lead_further_than_allowed(
            weights in prop::array::uniform8(-MAX_WEIGHT * ONE..=MAX_WEIGHT * ONE),
            features in prop::array::uniform8(-MAX_FEATURE * ONE..=MAX_FEATURE * ONE),
        ) {
            prop_assert!(dot(&weights, &features).abs() < 1 << 47);
            prop_assert!(deviation(&weights, &features).abs() <= MAX_DEVIATION * ONE);
        }
    }
}
