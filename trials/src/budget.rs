//! How much may be tried: switches in an hour, and time on candidates of which nothing is proven in an hour and in a day.
//!
//! Moments here are times since 1970, as what was spent is kept over restarts. Of a turn all that it may take is spent when it begins, and
//! the rest is given back at its end, so that a restart in between gives nothing away.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::since_1970;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The switches of trials in any hour.
pub const SWITCHES_PER_HOUR: usize = 12;
/// The share of any hour that may be spent on candidates of which nothing is proven.
pub const HOURLY_SHARE: f64 = 0.05;
/// How many switches of the policy's limit are kept for what is not tried.
pub const KEPT_FOR_OTHERS: usize = 10;
/// More turns than fit into the budget of a day.
const MOST: usize = 4096;

/// What was spent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    #[serde(with = "since_1970::list")]
    switches: Vec<Duration>,
    exposures: Vec<Exposure>,
    /// The last exposure has not ended.
    #[serde(skip)]
    open: bool,
}

/// A time on a candidate of which nothing is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Exposure {
    #[serde(with = "since_1970")]
    from: Duration,
    #[serde(with = "since_1970")]
    to: Duration,
}

impl Budget {
    /// Records a switch.
    pub(crate) fn switch(&mut self, at: Duration) {
        self.forget(at);
        self.switches.push(at);
    }

    /// Whether `more` switches stay within the hour's.
    #[must_use]
    pub fn allows_switches(&self, more: usize, at: Duration) -> bool {
        let hour = self.switches.iter().filter(|then| at < **then + HOUR);
        hour.count() + more <= SWITCHES_PER_HOUR
    }

    /// Records that a candidate of which nothing is proven runs from now on, for this long at most.
    pub(crate) fn expose(&mut self, at: Duration, at_most: Duration) {
        self.conceal(at);
        self.forget(at);
        self.exposures.push(Exposure {
            from: at,
            to: at + at_most,
        });
        self.open = true;
    }

    /// It does not run any more.
    pub(crate) fn conceal(&mut self, at: Duration) {
        if std::mem::take(&mut self.open)
            && let Some(last) = self.exposures.last_mut()
        {
            last.to = at.max(last.from);
        }
    }

    /// Since when a candidate of which nothing is proven runs.
    #[must_use]
    pub fn exposed_since(&self) -> Option<Duration> {
        let last = self.exposures.last().filter(|_| self.open)?;
        Some(last.from)
    }

    /// Whether `more` time stays within the share of the hour, and of the day within `daily`.
    #[must_use]
    pub fn allows_exposure(&self, more: Duration, daily: f64, at: Duration) -> bool {
        let within =
            |span: Duration, share: f64| self.exposed(span, at) + more <= span.mul_f64(share);
        within(HOUR, HOURLY_SHARE) && within(DAY, daily)
    }

    /// For how long such candidates ran, or may have, in the time `span` before `at`.
    #[must_use]
    pub fn exposed(&self, span: Duration, at: Duration) -> Duration {
        let begin = at.saturating_sub(span);
        let within = |exposure: &Exposure| exposure.to.saturating_sub(exposure.from.max(begin));
        self.exposures.iter().map(within).sum()
    }

    /// What was spent as far as it can be: another machine's clock, or one that was set, is not trusted.
    pub(crate) fn bounded(mut self) -> Self {
        let newest = self.switches.len().saturating_sub(MOST);
        self.switches.drain(..newest);
        let newest = self.exposures.len().saturating_sub(MOST);
        self.exposures.drain(..newest);
        self.exposures
            .retain(|exposure| exposure.from <= exposure.to && exposure.to - exposure.from <= HOUR);
        self
    }

    /// What is said to be spent later than now was so by a clock that was ahead: it counts as spent now.
    pub(crate) fn as_of(&mut self, at: Duration) {
        for switch in &mut self.switches {
            *switch = at.min(*switch);
        }
        for exposure in &mut self.exposures {
            let ahead = exposure.to.saturating_sub(at);
            exposure.from = exposure.from.saturating_sub(ahead);
            exposure.to -= ahead;
        }
    }

    fn forget(&mut self, at: Duration) {
        self.switches.retain(|then| at < *then + HOUR);
        self.exposures.retain(|exposure| at < exposure.to + DAY);
        if self.exposures.len() >= MOST {
            self.exposures.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn twelve_switches_fit_into_any_hour() {
        let mut budget = Budget::default();
        for number in 0..12 {
            assert!(budget.allows_switches(1, NOW + seconds(number)));
            budget.switch(NOW + seconds(number));
        }
        assert!(!budget.allows_switches(1, NOW + seconds(3599)));
        assert!(budget.allows_switches(1, NOW + HOUR));
        assert!(!budget.allows_switches(2, NOW + HOUR));
    }

    #[test]
    fn of_an_hour_three_minutes_may_be_spent_and_of_a_day_what_the_policy_says() {
        let mut budget = Budget::default();
        assert!(budget.allows_exposure(seconds(180), 0.02, NOW));
        assert!(!budget.allows_exposure(seconds(181), 0.02, NOW));
        budget.expose(NOW, seconds(100));
        assert!(!budget.allows_exposure(seconds(81), 0.02, NOW));
        budget.conceal(NOW + seconds(20));
        assert!(budget.allows_exposure(seconds(160), 0.02, NOW + seconds(20)));
        // It leaves the hour little by little.
        assert!(budget.allows_exposure(seconds(170), 0.02, NOW + HOUR + seconds(10)));
        assert!(!budget.allows_exposure(seconds(70), 0.001, NOW + HOUR + seconds(10)));
    }

    #[test]
    fn what_a_restart_interrupted_is_spent() {
        let mut budget = Budget::default();
        budget.expose(NOW, seconds(100));
        let json = serde_json::to_string(&budget).unwrap();
        let kept: Budget = serde_json::from_str(&json).unwrap();
        assert_eq!(kept.exposed(HOUR, NOW + seconds(200)), seconds(100));
        assert_eq!(kept.exposed_since(), None);
    }

    #[test]
    fn a_clock_that_was_set_back_blocks_nothing_for_long() {
        let mut budget = Budget::default();
        budget.switch(NOW + DAY);
        budget.expose(NOW + DAY, seconds(50));
        budget.as_of(NOW);
        assert_eq!(budget.exposed(HOUR, NOW), seconds(50));
        assert!(budget.allows_switches(12, NOW + HOUR));
        assert!(budget.allows_exposure(seconds(180), 0.02, NOW + HOUR + seconds(1)));
    }

    proptest! {
        #[test]
        fn no_hour_and_no_day_has_more_than_its_share(
            turns in prop::collection::vec((1u64..3000, 5u64..90, 0.1f64..1.0), 1..300), daily in 0.001f64..0.05,
        ) {
            let mut budget = Budget::default();
            let (mut at, mut spent) = (NOW, Vec::new());
            for (pause, at_most, used) in turns {
                at += seconds(pause);
                let at_most = seconds(at_most);
                if !budget.allows_exposure(at_most, daily, at) {
                    continue;
                }
                budget.expose(at, at_most);
                let end = at + at_most.mul_f64(used);
                budget.conceal(end);
                spent.push((at, end));
                at = end;
            }
            for (_, end) in &spent {
                for (span, share) in [(HOUR, HOURLY_SHARE), (DAY, daily)] {
                    let begin = end.saturating_sub(span);
                    let within = spent.iter().filter(|(_, to)| to <= end);
                    let sum: Duration = within.map(|(from, to)| to.saturating_sub(begin.max(*from))).sum();
                    prop_assert!(sum <= span.mul_f64(share) + Duration::from_micros(1), "{sum:?} of {span:?}");
                }
            }
        }
    }
}
