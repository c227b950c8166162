//! Which schedulers failed lately, and how long they are left alone for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Moment;
use crate::policy::Scheduler;

/// How long a scheduler is left alone after its first failure; doubled by each further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(30);
/// The longest time a scheduler is left alone.
const LONGEST_BACK_OFF: Duration = Duration::from_hours(1);
/// A failure this long after the one before counts as the first again.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(2);
/// How many are remembered. A policy has fewer schedulers; pins can come with any arguments.
const MOST: usize = 512;

/// The failures, each of one program with its arguments: with others it may well run. The latest is
/// last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures(Vec<Failure>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    scheduler: Scheduler,
    count: u32,
    last: Moment,
    until: Moment,
    error: String,
}

impl Failures {
    /// Takes note of a failure at `now`.
    pub(crate) fn add(&mut self, scheduler: &Scheduler, error: &str, now: Moment) {
        self.0
            .retain(|failure| now < failure.last + FORGOTTEN_AFTER);
        let before = self
            .0
            .iter()
            .position(|failure| failure.scheduler == *scheduler);
        let count = before.map_or(0, |at| self.0.remove(at).count) + 1;
        let doublings = (count - 1).min(16);
        let back_off = FIRST_BACK_OFF
            .saturating_mul(1 << doublings)
            .min(LONGEST_BACK_OFF);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Failure {
            scheduler: scheduler.clone(),
            count,
            last: now,
            until: now + back_off,
            error: error.to_owned(),
        });
    }

    /// Ends the time for which `scheduler` is left alone; if it fails again it counts as before.
    pub(crate) fn forgive(&mut self, scheduler: &Scheduler, now: Moment) {
        for failure in &mut self.0 {
            if failure.scheduler == *scheduler {
                failure.until = failure.until.min(now);
            }
        }
    }

    /// The failure for which `scheduler` is left alone at `now`; `None` when it is not.
    pub(crate) fn quarantine(&self, scheduler: &Scheduler, now: Moment) -> Option<&str> {
        let mut failures = self.0.iter();
        let failure = failures.find(|failure| failure.scheduler == *scheduler)?;
        (now < failure.until).then_some(&failure.error)
    }

    /// The name of every scheduler that is left alone at `now`, and until when.
    pub(crate) fn quarantined(&self, now: Moment) -> BTreeMap<String, Moment> {
        let mut names = BTreeMap::new();
        for Failure {
            scheduler, until, ..
        } in self.0.iter().filter(|failure| now < failure.until)
        {
            let latest = names.entry(scheduler.name.clone()).or_insert(*until);
            *latest = (*until).max(*latest);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(args: &[&str]) -> Scheduler {
        Scheduler {
            name: "bpfland".into(),
            command: "scx_bpfland".into(),
            args: args.iter().map(|&arg| arg.into()).collect(),
        }
    }

    #[test]
    fn each_failure_doubles_the_time_up_to_an_hour() {
        let bpfland = scheduler(&[]);
        let mut failures = Failures::default();
        let mut now = Duration::ZERO;
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            failures.add(&bpfland, "crashed", now);
            assert_eq!(failures.quarantine(&bpfland, now), Some("crashed"));
            let until = failures.quarantined(now)["bpfland"];
            assert!(until - now >= last && until - now <= LONGEST_BACK_OFF);
            last = until - now;
            now = until;
            assert_eq!(failures.quarantine(&bpfland, now), None);
        }
        assert_eq!(last, LONGEST_BACK_OFF);
    }

    #[test]
    fn an_old_failure_is_forgotten() {
        let bpfland = scheduler(&[]);
        let mut failures = Failures::default();
        failures.add(&bpfland, "crashed", Duration::ZERO);
        failures.add(&bpfland, "crashed", FORGOTTEN_AFTER);
        let until = failures.quarantined(FORGOTTEN_AFTER)["bpfland"];
        assert_eq!(until, FORGOTTEN_AFTER + FIRST_BACK_OFF);
    }

    #[test]
    fn with_other_arguments_it_has_not_failed() {
        let mut failures = Failures::default();
        failures.add(&scheduler(&["--nonsense"]), "refused", Duration::ZERO);
        assert_eq!(failures.quarantine(&scheduler(&[]), Duration::ZERO), None);
    }

    #[test]
    fn whatever_the_arguments_the_memory_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..2 * MOST {
            let arg = number.to_string();
            failures.add(&scheduler(&[&arg]), "refused", Duration::ZERO);
        }
        assert_eq!(failures.0.len(), MOST);
    }
}
