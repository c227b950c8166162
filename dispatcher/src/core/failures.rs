//! Which schedulers failed lately, and how long they are left alone for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Moment;

/// How long a scheduler is left alone after its first failure; doubled by each further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(30);
/// The longest time a scheduler is left alone.
const LONGEST_BACK_OFF: Duration = Duration::from_hours(1);
/// A failure this long after the one before counts as the first again.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(2);

/// The failures of every scheduler, by the policy's name for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures(BTreeMap<String, Failure>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    count: u32,
    last: Moment,
    until: Moment,
    error: String,
}

impl Failures {
    /// Takes note of a failure at `now`.
    pub(crate) fn add(&mut self, name: &str, error: &str, now: Moment) {
        let before = self
            .0
            .get(name)
            .filter(|failure| now < failure.last + FORGOTTEN_AFTER);
        let count = before.map_or(0, |failure| failure.count) + 1;
        let doublings = (count - 1).min(16);
        let back_off = FIRST_BACK_OFF
            .saturating_mul(1 << doublings)
            .min(LONGEST_BACK_OFF);
        let failure = Failure {
            count,
            last: now,
            until: now + back_off,
            error: error.to_owned(),
        };
        self.0.insert(name.to_owned(), failure);
    }

    /// Ends the time for which `name` is left alone; if it fails again it counts as before.
    pub(crate) fn forgive(&mut self, name: &str, now: Moment) {
        if let Some(failure) = self.0.get_mut(name) {
            failure.until = failure.until.min(now);
        }
    }

    /// The failure for which `name` is left alone at `now`; `None` when it is not.
    pub(crate) fn quarantine(&self, name: &str, now: Moment) -> Option<&str> {
        let failure = self.0.get(name).filter(|failure| now < failure.until)?;
        Some(&failure.error)
    }

    /// Every scheduler that is left alone at `now`, and until when.
    pub(crate) fn quarantined(&self, now: Moment) -> BTreeMap<String, Moment> {
        let failures = self.0.iter().filter(|(_, failure)| now < failure.until);
        failures
            .map(|(name, failure)| (name.clone(), failure.until))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_time_up_to_an_hour() {
        let mut failures = Failures::default();
        let mut now = Duration::ZERO;
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            failures.add("bpfland", "crashed", now);
            assert_eq!(failures.quarantine("bpfland", now), Some("crashed"));
            let until = failures.quarantined(now)["bpfland"];
            assert!(until - now >= last && until - now <= LONGEST_BACK_OFF);
            last = until - now;
            now = until;
            assert_eq!(failures.quarantine("bpfland", now), None);
        }
        assert_eq!(last, LONGEST_BACK_OFF);
    }

    #[test]
    fn an_old_failure_is_forgotten() {
        let mut failures = Failures::default();
        failures.add("bpfland", "crashed", Duration::ZERO);
        failures.add("bpfland", "crashed", FORGOTTEN_AFTER);
        let until = failures.quarantined(FORGOTTEN_AFTER)["bpfland"];
        assert_eq!(until, FORGOTTEN_AFTER + FIRST_BACK_OFF);
    }
}
