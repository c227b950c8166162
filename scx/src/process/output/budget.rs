//! How much may be looked at or logged: so much at once, and so much more in each second.

use std::time::Instant;

/// So much at once, and so much more in each second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    most: u64,
    each_second: u64,
}

impl Allowance {
    pub(super) const fn of(most: u64, each_second: u64) -> Self {
        Self { most, each_second }
    }
}

/// What is left of an allowance.
#[derive(Debug)]
pub(super) struct Budget {
    allowance: Allowance,
    left: u64,
    at: Instant,
}

impl Budget {
    pub(super) fn of(allowance: Allowance, now: Instant) -> Self {
        Self {
            allowance,
            left: allowance.most,
            at: now,
        }
    }

    /// Takes that much if it is there.
    pub(super) fn take(&mut self, much: u64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let more = u64::try_from(passed)
            .unwrap_or(u64::MAX)
            .saturating_mul(self.allowance.each_second)
            / 1000;
        // What is less than one is not lost.
        if more > 0 {
            self.left = self.left.saturating_add(more).min(self.allowance.most);
            self.at = now;
        }
        let enough = self.left >= much;
        if enough {
            self.left -= much;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back_with_time() {
        let now = Instant::now();
        let mut budget = Budget::of(Allowance::of(10, 5), now);
        assert!(budget.take(10, now) && !budget.take(1, now));
        let later = now + Duration::from_millis(399);
        assert!(budget.take(1, later) && !budget.take(1, later));
        assert!(budget.take(10, now + Duration::from_secs(60)));
    }
}
