//! How often notices come: seldom, however much happens. What happens in between is in the next one.

use std::time::Duration;

/// How long to wait after a notice, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(10)];

/// The pause after the last notice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pause: Option<Duration>,
}

impl Pace {
    /// The pause after a notice that comes so long after the end of the last pause. It is twice as long as that one when
    /// things go on as they did.
    pub(super) fn next(&mut self, since: Duration) -> Duration {
        let [first, longest] = PAUSES;
        let pause = match self.pause {
            Some(pause) if since < pause => (2 * pause).min(longest),
            _ => first,
        };
        self.pause = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_without_end_is_told_of_ever_more_seldom_and_calm_ends_that() {
        let mut pace = Pace::default();
        let second = Duration::from_secs(1);
        assert_eq!(pace.next(Duration::from_hours(1)), PAUSES[0]);
        assert_eq!(pace.next(second), 2 * PAUSES[0]);
        assert_eq!(pace.next(second), 4 * PAUSES[0]);
        for _ in 0..100 {
            assert!(pace.next(second) <= PAUSES[1]);
        }
        assert_eq!(pace.next(second), PAUSES[1]);
        assert_eq!(pace.next(PAUSES[1]), PAUSES[0]);
    }
}
