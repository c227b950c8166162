//! Which schedulers failed lately, and how long they are quarantined for it.

use std::time::Duration;

use auto_ext_policy::Scheduler;

use crate::cause::End;
use crate::moment::Moment;

/// A scheduler must run without a failure for at least this long after its quarantine before the next one counts as its
/// first again.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(2);
/// How many are remembered. A policy has fewer schedulers; pins can come with any arguments.
const MOST: usize = 512;

/// The failures, each of one program with its arguments: with others it may well run, under another
/// name it is the same. The latest is last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures(Vec<Failure>);

/// The failures of one scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which scheduler.
    pub scheduler: Scheduler,
    /// How often it failed, each time before the failure before was forgotten; 1 or more.
    pub count: u32,
    /// The last failure.
    pub end: End,
    /// How long it is quarantined after the last failure.
    pub back_off: Duration,
    /// Until when it is quarantined.
    pub until: Moment,
}

impl Failure {
    /// Whether it is so long ago at `now` that it does not count any more.
    fn is_forgotten(&self, now: Moment) -> bool {
        now >= self.until + FORGOTTEN_AFTER.max(self.back_off)
    }
}

impl Failures {
    /// Records a failure at `now`.
    pub(crate) fn add(&mut self, scheduler: &Scheduler, end: &End, now: Moment) {
        self.0.retain(|failure| !failure.is_forgotten(now));
        let before = self
            .0
            .iter()
            .position(|failure| failure.scheduler.is_same_as(scheduler));
        let count = before
            .map_or(0, |at| self.0.remove(at).count)
            .saturating_add(1);
        let (first, longest) = end.cause.back_off();
        let doublings = (count - 1).min(16);
        let back_off = first.saturating_mul(1 << doublings).min(longest);
        self.push(Failure {
            scheduler: scheduler.clone(),
            count,
            end: end.clone(),
            back_off,
            until: now + back_off,
        });
    }

    /// Records failures from before the first event. Of two of the same scheduler, which older versions kept by two
    /// names, the worse counts.
    pub(crate) fn remember(&mut self, failures: Vec<Failure>) {
        for mut failure in failures {
            let same = |known: &Failure| known.scheduler.is_same_as(&failure.scheduler);
            if let Some(at) = self.0.iter().position(same) {
                let known = self.0.remove(at);
                let count = failure.count.max(known.count);
                if known.until > failure.until {
                    failure = known;
                }
                failure.count = count;
            }
            self.push(failure);
        }
    }

    fn push(&mut self, failure: Failure) {
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(failure);
    }

    /// Ends the quarantine of `scheduler`; the next failure counts as if it had not been ended.
    pub(crate) fn try_again(&mut self, scheduler: &Scheduler, now: Moment) {
        for failure in &mut self.0 {
            if failure.scheduler.is_same_as(scheduler) {
                failure.until = failure.until.min(now);
            }
        }
    }

    /// Forgets all failures of the schedulers that run this program.
    pub(crate) fn forget(&mut self, command: &str) {
        self.0
            .retain(|failure| failure.scheduler.command != command);
    }

    /// All that is remembered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Failure> + Clone {
        self.0.iter()
    }

    /// The failure for which `scheduler` is quarantined at `now`; `None` when it is not.
    pub(crate) fn quarantine(&self, scheduler: &Scheduler, now: Moment) -> Option<&str> {
        let mut failures = self.0.iter();
        let failure = failures.find(|failure| failure.scheduler.is_same_as(scheduler))?;
        (now < failure.until).then_some(&failure.end.text)
    }

    /// The failures for which schedulers are quarantined at `now`.
    pub(crate) fn quarantined(&self, now: Moment) -> impl Iterator<Item = &Failure> {
        self.0.iter().filter(move |failure| now < failure.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Cause;

    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);

    fn scheduler(args: &[&str]) -> Scheduler {
        Scheduler {
            name: "bpfland".into(),
            command: "scx_bpfland".into(),
            args: args.iter().map(|&arg| arg.into()).collect(),
        }
    }

    fn end(cause: Cause) -> End {
        End {
            cause,
            text: cause.to_string(),
        }
    }

    /// Until when the only one in quarantine is quarantined.
    fn until(failures: &Failures, now: Moment) -> Moment {
        let mut quarantined = failures.quarantined(now);
        let until = quarantined.next().unwrap().until;
        assert_eq!(quarantined.next(), None);
        until
    }

    #[test]
    fn each_failure_doubles_the_time_up_to_a_limit() {
        let bpfland = scheduler(&[]);
        let mut failures = Failures::default();
        let mut now = Duration::ZERO;
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            failures.add(&bpfland, &end(Cause::Crashed), now);
            assert_eq!(failures.quarantine(&bpfland, now), Some("crashed"));
            let until = until(&failures, now);
            assert!(until - now >= last && until - now <= DAY);
            last = until - now;
            now = until;
            assert_eq!(failures.quarantine(&bpfland, now), None);
        }
        assert_eq!(last, DAY);
    }

    #[test]
    fn after_a_stall_it_is_quarantined_for_longer_than_after_a_kill() {
        let quarantine = |cause| {
            let mut failures = Failures::default();
            failures.add(&scheduler(&[]), &end(cause), Duration::ZERO);
            until(&failures, Duration::ZERO)
        };
        assert_eq!(quarantine(Cause::Killed), MINUTE / 2);
        assert_eq!(quarantine(Cause::Stalled), 60 * MINUTE);
    }

    #[test]
    fn a_failure_is_forgotten_once_it_did_well_for_as_long_as_it_was_quarantined() {
        let bpfland = scheduler(&[]);
        let count = |failures: &Failures| failures.iter().next().map(|failure| failure.count);
        let mut failures = Failures::default();
        let stalled = end(Cause::Stalled);
        failures.add(&bpfland, &stalled, Duration::ZERO);
        failures.add(&bpfland, &stalled, 179 * MINUTE);
        assert_eq!(count(&failures), Some(2));
        let until = until(&failures, 180 * MINUTE);
        failures.add(&bpfland, &stalled, until + 120 * MINUTE);
        assert_eq!(count(&failures), Some(1));
    }

    #[test]
    fn with_other_arguments_it_has_not_failed() {
        let mut failures = Failures::default();
        let refused = end(Cause::NotLoaded);
        failures.add(&scheduler(&["--nonsense"]), &refused, Duration::ZERO);
        assert_eq!(failures.quarantine(&scheduler(&[]), Duration::ZERO), None);
    }

    #[test]
    fn under_another_name_it_has_failed_too() {
        let renamed = Scheduler {
            name: "fast".into(),
            ..scheduler(&[])
        };
        let crashed = end(Cause::Crashed);
        let mut failures = Failures::default();
        failures.add(&scheduler(&[]), &crashed, Duration::ZERO);
        assert!(failures.quarantine(&renamed, Duration::ZERO).is_some());
        failures.add(&renamed, &crashed, Duration::ZERO);
        let counts: Vec<u32> = failures.iter().map(|failure| failure.count).collect();
        assert_eq!(counts, [2]);
        failures.try_again(&scheduler(&[]), Duration::ZERO);
        assert_eq!(failures.quarantine(&renamed, Duration::ZERO), None);
    }

    #[test]
    fn of_what_was_known_under_two_names_the_worse_counts() {
        let known = |name: &str, count, until| Failure {
            scheduler: Scheduler {
                name: name.into(),
                ..scheduler(&[])
            },
            count,
            end: end(Cause::Crashed),
            back_off: 5 * MINUTE,
            until,
        };
        let mut failures = Failures::default();
        failures.remember(vec![
            known("bpfland", 1, 5 * MINUTE),
            known("fast", 3, MINUTE),
        ]);
        let [failure] = &failures.0[..] else {
            panic!("{failures:?}")
        };
        assert_eq!((failure.count, failure.until), (3, 5 * MINUTE));
    }

    #[test]
    fn what_was_known_before_counts_on() {
        let mut before = Failures::default();
        before.add(&scheduler(&[]), &end(Cause::Crashed), Duration::ZERO);
        let mut failures = Failures::default();
        failures.remember(before.iter().cloned().collect());
        assert_eq!(failures, before);
        failures.add(&scheduler(&[]), &end(Cause::Crashed), Duration::ZERO);
        assert_eq!(until(&failures, Duration::ZERO), MINUTE, "doubled");
        failures.forget("scx_bpfland");
        assert_eq!(failures, Failures::default());
    }

    #[test]
    fn whatever_the_arguments_the_memory_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..2 * MOST {
            let arg = number.to_string();
            let refused = end(Cause::NotLoaded);
            failures.add(&scheduler(&[&arg]), &refused, Duration::ZERO);
        }
        assert_eq!(failures.0.len(), MOST);
    }
}
