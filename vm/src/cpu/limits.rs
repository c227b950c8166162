//! How many pins there may be in a window and in an hour.

use std::collections::VecDeque;
use std::time::Duration;

use crate::moment::Moment;

const HOUR: Duration = Duration::from_secs(3600);
/// In a window there may be so many, or a quarter of the vCPUs.
const IN_A_WINDOW: usize = 8;
const PART: usize = 4;
/// In an hour there may be so many for each vCPU.
const IN_AN_HOUR: usize = 6;

/// The pins of the last hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Limits {
    spent: VecDeque<(Moment, usize)>,
}

impl Limits {
    /// How many pins there may be now, with so many vCPUs.
    pub(super) fn room(&mut self, vcpus: usize, now: Moment) -> usize {
        while self
            .spent
            .front()
            .is_some_and(|(at, _)| now.saturating_sub(*at) >= HOUR)
        {
            self.spent.pop_front();
        }
        let spent: usize = self.spent.iter().map(|(_, pins)| pins).sum();
        let in_a_window = IN_A_WINDOW.max(vcpus / PART);
        in_a_window.min((IN_AN_HOUR * vcpus).saturating_sub(spent))
    }

    /// Counts pins.
    pub(super) fn spend(&mut self, pins: usize, now: Moment) {
        if pins > 0 {
            self.spent.push_back((now, pins));
        }
    }
}
