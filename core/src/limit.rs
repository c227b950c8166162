//! How often the scheduler may be switched.

use std::collections::VecDeque;
use std::time::Duration;

use crate::moment::Moment;

const HOUR: Duration = Duration::from_hours(1);

/// How many switches there may be in an hour for comparisons, which a person asked for who may change what runs.
pub const COMPARED_PER_HOUR: u32 = 240;

/// Against which limit a switch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Against none: it is a person's own word.
    Nowhere,
    /// Against the policy's.
    Hourly,
    /// Against that of comparisons: it begins a turn of one.
    Turn,
    /// Against that of comparisons: it goes back from the last turn to what the policy wants.
    AfterTurn,
}

/// The switches of the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SwitchLimit(VecDeque<Moment>);

impl SwitchLimit {
    /// Records a switch at `now`.
    pub(crate) fn add(&mut self, now: Moment) {
        self.forget(now);
        self.0.push_back(now);
    }

    /// Whether `needed` more switches stay within `per_hour` at `now`.
    pub(crate) fn allows(&self, needed: usize, per_hour: u32, now: Moment) -> bool {
        self.count(now) + needed <= per_hour as usize
    }

    /// How many there were in the hour before `now`.
    pub(crate) fn count(&self, now: Moment) -> usize {
        self.0.iter().filter(|at| now < **at + HOUR).count()
    }

    fn forget(&mut self, now: Moment) {
        while self.0.front().is_some_and(|at| now >= *at + HOUR) {
            self.0.pop_front();
        }
    }
}
