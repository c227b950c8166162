//! Whether predictions of bursts are acted on, or only scored: they must have been better than the average of late, all tasks
//! together, and are taken back as soon as they are not.

use std::collections::VecDeque;

/// Over how many periods it is judged: with two refits a second, ten seconds.
pub const WINDOW: usize = 20;
/// How many bursts those must have before anything is acted on.
pub const MIN_BURSTS: u64 = 200;
/// At most which multiple of the average's error that of predictions is to be acted on; so that chance alone does not pass.
pub const PASSES: f64 = 0.95;
/// Above which it is taken back.
pub const FAILS: f64 = 1.0;

/// What was seen of late, and what follows.
#[derive(Clone, Debug, Default)]
pub struct Promotion {
    /// Of each period: bursts, and the errors of the average and of predictions.
    periods: VecDeque<(u64, [f64; 2])>,
    acts: bool,
}

impl Promotion {
    /// A period is over, with so many bursts and these sums of absolute errors: of the average, and of predictions as they were, or
    /// would have been, acted on. Returns whether they are from now on.
    pub fn end_period(&mut self, bursts: u64, errors: [f64; 2]) -> bool {
        self.periods.push_back((bursts, errors));
        if self.periods.len() > WINDOW {
            self.periods.pop_front();
        }
        let [average, predicted] = [0, 1].map(|which| {
            self.periods
                .iter()
                .map(|(_, errors)| errors[which])
                .sum::<f64>()
        });
        let enough = self.periods.iter().map(|(bursts, _)| bursts).sum::<u64>() >= MIN_BURSTS;
        self.acts = if self.acts {
            predicted <= FAILS * average
        } else {
            let full = self.periods.len() == WINDOW;
            full && enough && predicted <= PASSES * average && average > 0.0
        };
        self.acts
    }

    /// Whether predictions are acted on.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.acts
    }

    /// Begins anew, as when who predicts has changed.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many such periods pass until it acts or ceases to; `None` within a hundred.
    fn until(promotion: &mut Promotion, acts: bool, bursts: u64, ratio: f64) -> Option<usize> {
        let errors = [1.0, ratio];
        (1..=100).find(|_| promotion.end_period(bursts, errors) == acts)
    }

    #[test]
    fn what_is_better_for_a_window_is_acted_on_and_what_gets_worse_taken_back() {
        let mut promotion = Promotion::default();
        assert_eq!(until(&mut promotion, true, 100, 0.8), Some(WINDOW));
        assert_eq!(until(&mut promotion, false, 100, 0.99), None);
        // As much worse as it was better takes as long.
        let mut promotion = Promotion::default();
        until(&mut promotion, true, 100, 0.8);
        assert_eq!(until(&mut promotion, false, 100, 1.2), Some(11));
        let mut promotion = Promotion::default();
        until(&mut promotion, true, 100, 0.8);
        assert_eq!(until(&mut promotion, false, 100, 10.0), Some(1));
    }

    #[test]
    fn what_is_hardly_better_or_hardly_seen_is_not_acted_on() {
        assert_eq!(until(&mut Promotion::default(), true, 100, 0.97), None);
        assert_eq!(until(&mut Promotion::default(), true, 1, 0.5), None);
        let mut still = Promotion::default();
        assert!((0..100).all(|_| !still.end_period(100, [0.0, 0.0])));
    }

    #[test]
    fn it_begins_anew_when_it_is_told_to() {
        let mut promotion = Promotion::default();
        until(&mut promotion, true, 100, 0.8);
        promotion.reset();
        assert!(!promotion.acts());
        assert_eq!(until(&mut promotion, true, 100, 0.8), Some(WINDOW));
    }
}
