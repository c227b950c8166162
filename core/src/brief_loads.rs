//! For how long a load has to last before a scheduler is loaded for it, where several before it ended while theirs was still loading.
//!
//! Owns the count of those. One alone is chance, so that the first load is never waited for. What a person or an application asks
//! for, what trials try and the way back to the kernel's own scheduler have nothing to do with it.

use std::time::Duration;

use crate::moment::Moment;

/// How many of them say nothing yet.
const BY_CHANCE: u32 = 1;
/// How long the next load has to last after one more than these, twice as long after each further one, and how long at most.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(1);
/// So long after the last one they are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// Loads that ended while a scheduler was loading for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BriefLoads {
    count: u32,
    last: Moment,
}

impl BriefLoads {
    /// Records one that ended at `now`.
    pub(crate) fn add(&mut self, now: Moment) {
        let before = if self.is_forgotten(now) {
            0
        } else {
            self.count
        };
        self.count = before.saturating_add(1);
        self.last = now;
    }

    /// How long a load has to last at `now` before a scheduler is loaded for it.
    pub(crate) fn needed(&self, now: Moment) -> Duration {
        let over = self.count.saturating_sub(BY_CHANCE);
        if over == 0 || self.is_forgotten(now) {
            return Duration::ZERO;
        }
        let doublings = (over - 1).min(16);
        FIRST.saturating_mul(1 << doublings).min(LONGEST)
    }

    fn is_forgotten(&self, now: Moment) -> bool {
        now.saturating_sub(self.last) >= FORGOTTEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_second_one_loads_have_to_last_and_after_each_further_one_for_longer() {
        let mut brief = BriefLoads::default();
        let mut needed = Vec::new();
        for second in 1..=8 {
            let now = Duration::from_secs(second);
            needed.push(brief.needed(now).as_secs());
            brief.add(now);
        }
        assert_eq!(needed, [0, 0, 5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn they_are_forgotten_once_there_was_none_for_a_while() {
        let mut brief = BriefLoads::default();
        for _ in 0..4 {
            brief.add(Duration::from_secs(1));
        }
        let later = Duration::from_secs(1) + FORGOTTEN_AFTER;
        assert!(brief.needed(later - Duration::from_millis(1)) > Duration::ZERO);
        assert_eq!(brief.needed(later), Duration::ZERO);
        brief.add(later);
        assert_eq!(brief.needed(later), Duration::ZERO, "it is the first again");
    }
}
