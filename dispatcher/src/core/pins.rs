//! What people want to run: the pin that is in force, and those that are again when it has ended.

use std::time::Duration;

use super::Moment;
use crate::policy::Candidate;

/// How many there may be at once; everybody may pin as often as they like.
const MOST: usize = 8;

/// What a person wants to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What.
    pub to: Candidate,
    /// For how long; `None`: until it is unpinned.
    pub lasts: Option<Duration>,
    /// Since when.
    pub since: Moment,
    /// It has run. Until then, a failure ends the pin.
    established: bool,
    /// It is in force again since the one above it ended, and nothing came of that yet.
    returns: bool,
}

impl Pin {
    /// Whether it has ended by itself at `now`.
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        self.end().is_some_and(|end| now >= end)
    }

    /// Whether what it names may be brought in without waiting for anything: a person's word is carried
    /// out at once; only if nothing comes of it, it waits like any.
    pub(super) fn is_urgent(&self) -> bool {
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
    pub(super) fn current(&self) -> Option<&Pin> {
        self.0.last()
    }

    /// The one that will be in force when the current one has ended.
    pub(super) fn next(&self) -> Option<&Pin> {
        let below = self.0.len().checked_sub(2)?;
        self.0.get(below)
    }

    /// A person wants `to` from `now` on.
    pub(super) fn add(&mut self, to: Candidate, lasts: Option<Duration>, now: Moment) {
        // What never ran is not returned to.
        self.0.pop_if(|pin| !pin.established);
        if self.0.len() >= MOST {
            // The first one lasts longest.
            self.0.remove(1);
        }
        self.0.push(Pin {
            to,
            lasts,
            since: now,
            established: false,
            returns: false,
        });
    }

    /// What the current one names runs.
    pub(super) fn establish(&mut self) {
        let Some(mut pin) = self.0.pop() else {
            return;
        };
        if !pin.established {
            // The same again only gives it another end.
            self.0.pop_if(|before| before.to.is_same_as(&pin.to));
            self.0.retain(|before| before.outlasts(&pin));
        }
        pin.established = true;
        pin.returns = false;
        self.0.push(pin);
    }

    /// Nothing came of bringing `to` in. Whoever asked for it is told; what was before is in force again.
    pub(super) fn failed(&mut self, to: &Candidate) {
        let failed = |pin: &mut Pin| !pin.established && pin.to.is_same_as(to);
        if self.0.pop_if(failed).is_some() {
            self.return_to_last();
        } else {
            self.wait();
        }
    }

    /// From now on the current one waits like any, if it has run.
    pub(super) fn wait(&mut self) {
        if let Some(pin) = self.0.last_mut() {
            pin.returns = false;
        }
    }

    /// Takes out what has ended by itself at `now`.
    pub(super) fn end_those_over(&mut self, now: Moment) {
        let ends = self.current().is_some_and(|pin| pin.is_over(now));
        self.0.retain(|pin| !pin.is_over(now));
        if ends {
            self.return_to_last();
        }
    }

    /// The choice is left to the policy again.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What they name.
    pub(super) fn named_mut(&mut self) -> impl Iterator<Item = &mut Candidate> {
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
    use crate::policy::Scheduler;

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
            pins.add(named(name), *lasts, Moment::ZERO);
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
    fn after_a_failure_the_one_before_it_is_in_force_and_after_its_own_it_waits() {
        let mut pins = pins(&[("a", None)]);
        pins.add(named("b"), None, MINUTE);
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
