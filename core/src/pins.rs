//! What people want to run: the pin that is in force, and the earlier ones that are in force again when it has ended.

use std::time::Duration;

use auto_ext_policy::Candidate;

use crate::moment::Moment;

/// How many there may be at once, as a person can pin without end.
const MOST: usize = 8;

/// What a person wants to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What.
    pub to: Candidate,
    /// For how long; `None`: until it is unpinned.
    pub lasts: Option<Duration>,
    /// By which program they asked, where it is not one of ours.
    pub by: Option<String>,
    /// Since when.
    pub since: Moment,
    /// It has run. Until then, a failure ends the pin.
    established: bool,
    /// It is in force again since a later one ended, and the switch to it has not been made yet.
    returns: bool,
}

impl Pin {
    /// Whether it has ended by itself at `now`.
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        self.end().is_some_and(|end| now >= end)
    }

    /// Whether the switch to it is to be made without waiting: what a person asks for is done at once. Only when that
    /// fails it waits like any other switch.
    pub(crate) fn is_urgent(&self) -> bool {
        !self.established || self.returns
    }

    fn end(&self) -> Option<Moment> {
        Some(self.since.saturating_add(self.lasts?))
    }

    /// Whether it is still in force when `other` has ended by itself.
    fn outlasts(&self, other: &Self) -> bool {
        match (self.end(), other.end()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(end), Some(other)) => end > other,
        }
    }
}

/// The pins, the one that is in force last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pins(Vec<Pin>);

impl Pins {
    /// The one that is in force.
    pub(crate) fn current(&self) -> Option<&Pin> {
        self.0.last()
    }

    /// The one that will be in force when the current one has ended, if there is one.
    pub(crate) fn next(&self) -> Option<&Pin> {
        let below = self.0.len().checked_sub(2)?;
        self.0.get(below)
    }

    /// A person wants `to` from `now` on, or the program `by` does, of which only the last word counts.
    pub(crate) fn add(
        &mut self,
        to: Candidate,
        lasts: Option<Duration>,
        by: Option<String>,
        now: Moment,
    ) {
        // One that never ran is not in force again later.
        self.0.pop_if(|pin| !pin.established);
        self.0.retain(|pin| pin.by.is_none() || pin.by != by);
        if self.0.len() >= MOST {
            // The first one lasts longest.
            self.0.remove(1);
        }
        self.0.push(Pin {
            to,
            lasts,
            by,
            since: now,
            established: false,
            returns: false,
        });
    }

    /// Records that what the current one names runs.
    pub(crate) fn establish(&mut self) {
        let Some(mut pin) = self.0.pop() else {
            return;
        };
        // What a program wants ends when it says so, and then a person's word is in force again.
        if !pin.established && pin.by.is_none() {
            // Pinned twice, the same has only another end.
            self.0.pop_if(|before| before.to.is_same_as(&pin.to));
            self.0.retain(|before| before.outlasts(&pin));
        }
        pin.established = true;
        pin.returns = false;
        self.0.push(pin);
    }

    /// Records that the switch to `to` failed. A pin that never ran ends, and the one before it is in force again.
    pub(crate) fn failed(&mut self, to: &Candidate) {
        let failed = |pin: &mut Pin| !pin.established && pin.to.is_same_as(to);
        if self.0.pop_if(failed).is_some() {
            self.return_to_last();
        } else {
            self.wait();
        }
    }

    /// From now on the switch to the current one waits like any other, if it has run.
    pub(crate) fn wait(&mut self) {
        if let Some(pin) = self.0.last_mut() {
            pin.returns = false;
        }
    }

    /// Removes those that have ended by themselves at `now`.
    pub(crate) fn end_those_over(&mut self, now: Moment) {
        let ends = self.current().is_some_and(|pin| pin.is_over(now));
        self.0.retain(|pin| !pin.is_over(now));
        if ends {
            self.return_to_last();
        }
    }

    /// Removes what `program` pinned, or what any program did if it is `None`.
    pub(crate) fn unpinned_by(&mut self, program: Option<&str>) {
        let theirs = |pin: &Pin| match (&pin.by, program) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(by), Some(program)) => by == program,
        };
        let ends = self.current().is_some_and(theirs);
        self.0.retain(|pin| !theirs(pin));
        if ends {
            self.return_to_last();
        }
    }

    /// Removes all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What each of them names.
    pub(crate) fn named_mut(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.0.iter_mut().map(|pin| &mut pin.to)
    }

    fn return_to_last(&mut self) {
        if let Some(pin) = self.0.last_mut() {
            pin.returns = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auto_ext_policy::Scheduler;

    const MINUTE: Duration = Duration::from_mins(1);

    fn named(name: &str) -> Candidate {
        Candidate::Scheduler(Scheduler {
            name: name.into(),
            command: format!("scx_{name}"),
            args: Vec::new(),
        })
    }

    /// Each pinned at the moment 0, and run.
    fn pins(of: &[(&str, Option<Duration>)]) -> Pins {
        let mut pins = Pins::default();
        for (name, lasts) in of {
            pins.add(named(name), *lasts, None, Moment::ZERO);
            pins.establish();
        }
        pins
    }

    fn at(pins: &mut Pins, now: Moment) -> Option<&str> {
        pins.end_those_over(now);
        pins.current().map(|pin| pin.to.name())
    }

    #[test]
    fn the_end_of_a_pin_brings_back_the_one_before_it_until_that_ends() {
        let mut pins = pins(&[
            ("a", Some(60 * MINUTE)),
            ("b", Some(30 * MINUTE)),
            ("c", Some(MINUTE)),
        ]);
        assert_eq!(at(&mut pins, Moment::ZERO), Some("c"));
        assert_eq!(at(&mut pins, 29 * MINUTE), Some("b"));
        assert!(pins.current().unwrap().is_urgent());
        pins.establish();
        assert!(!pins.current().unwrap().is_urgent());
        assert_eq!(at(&mut pins, 30 * MINUTE), Some("a"));
        assert_eq!(at(&mut pins, 60 * MINUTE), None);
    }

    #[test]
    fn a_pin_that_ends_no_later_than_the_next_is_not_returned_to() {
        let mut pins = pins(&[("a", Some(MINUTE)), ("b", Some(MINUTE))]);
        assert_eq!(pins.next(), None);
        assert_eq!(at(&mut pins, MINUTE), None);
    }

    #[test]
    fn the_same_once_more_has_another_end() {
        let mut pins = pins(&[("a", None), ("a", Some(MINUTE))]);
        assert_eq!(at(&mut pins, MINUTE), None);
    }

    #[test]
    fn what_a_program_wants_ends_without_a_persons_word() {
        let falcond = || Some("falcond".to_owned());
        let mut pins = pins(&[("a", Some(60 * MINUTE))]);
        for game in ["b", "a", "c"] {
            pins.add(named(game), None, falcond(), MINUTE);
            pins.establish();
            assert_eq!(at(&mut pins, MINUTE), Some(game));
            assert_eq!(pins.0.len(), 2);
        }
        pins.unpinned_by(Some("another"));
        assert_eq!(at(&mut pins, MINUTE), Some("c"));
        pins.unpinned_by(Some("falcond"));
        assert_eq!(at(&mut pins, MINUTE), Some("a"));
        assert!(pins.current().unwrap().is_urgent());
        // A person's later word stays, too.
        pins.add(named("b"), None, falcond(), MINUTE);
        pins.establish();
        pins.add(named("d"), Some(MINUTE), None, MINUTE);
        pins.establish();
        pins.unpinned_by(None);
        assert_eq!(at(&mut pins, MINUTE), Some("d"));
        assert_eq!(at(&mut pins, 2 * MINUTE), Some("a"));
    }

    #[test]
    fn after_a_failure_the_one_before_it_is_in_force_and_after_its_own_it_waits() {
        let mut pins = pins(&[("a", None)]);
        pins.add(named("b"), None, None, MINUTE);
        pins.failed(&named("b"));
        assert_eq!(at(&mut pins, MINUTE), Some("a"));
        assert!(pins.current().unwrap().is_urgent());
        pins.failed(&named("a"));
        assert_eq!(at(&mut pins, MINUTE), Some("a"));
        assert!(!pins.current().unwrap().is_urgent());
    }

    #[test]
    fn however_many_there_are_few_are_kept() {
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let lasting = names.iter().zip((0..100).rev());
        let of: Vec<_> = lasting
            .map(|(name, minutes)| (name.as_str(), Some(minutes * MINUTE)))
            .collect();
        let mut pins = pins(&of);
        assert_eq!(pins.0.len(), MOST);
        assert_eq!(at(&mut pins, 98 * MINUTE), Some("0"));
    }
}
