//! What is known of a vCPU: what it wants, where it may run by our word, and by whose it is left alone.

use std::time::Duration;

use crate::moment::Moment;
use crate::topology::Cpus;

/// How many windows a vCPU stays where it was put.
const STAYS: u64 = 3;
/// After so many windows a pin that was not carried out is given up.
const GIVEN_UP: u64 = 6;
/// How long a vCPU is left alone that was put back, the first time and at most.
const ALONE: Duration = Duration::from_secs(60);
const ALONE_AT_MOST: Duration = Duration::from_secs(3600);

/// What a vCPU did in a window, in percent of a CPU of full speed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Did {
    /// For how long it ran.
    pub run: f64,
    /// For how long it was ready to.
    pub wait: f64,
}

impl Did {
    /// What it wanted: no more than a whole CPU.
    pub(super) fn demand(self, whole: f64) -> f64 {
        (self.run + self.wait).min(whole)
    }
}

/// A pin that is on its way.
#[derive(Clone, Debug, PartialEq)]
struct InFlight {
    from: Cpus,
    since: u64,
}

/// What is known of a vCPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// What it wants, in percent, smoothed; `None` until it was measured.
    pub demand: Option<f64>,
    /// How long it waits, in percent, smoothed.
    pub wait: f64,
    /// What it did in the last window.
    pub did: Option<Did>,
    /// Where it may run, by our word or as it was found.
    expected: Cpus,
    /// Where it may run at all, when it was last seen.
    allowed: Cpus,
    in_flight: Option<InFlight>,
    pinned: Option<u64>,
    /// Somebody else pinned it.
    pub yielded: bool,
    alone_until: Option<Moment>,
    alone_for: Duration,
}

impl Known {
    /// A vCPU that is seen for the first time.
    pub(super) fn new(mask: &Cpus, allowed: &Cpus) -> Self {
        Self {
            demand: None,
            wait: 0.0,
            did: None,
            expected: mask.clone(),
            allowed: allowed.clone(),
            in_flight: None,
            pinned: None,
            yielded: false,
            alone_until: None,
            alone_for: ALONE,
        }
    }

    /// Where it is, or will be as soon as what is on its way is done.
    pub(super) fn mask(&self) -> &Cpus {
        &self.expected
    }

    /// Takes note of where it may run now. Returns whether somebody else has changed that.
    ///
    /// `replaces`: nobody else's change counts.
    pub(super) fn see(
        &mut self,
        mask: &Cpus,
        allowed: &Cpus,
        online: &Cpus,
        window: u64,
        replaces: bool,
    ) -> bool {
        let is_new_room = self.allowed != *allowed;
        self.allowed.clone_from(allowed);
        if *mask == self.expected {
            self.in_flight = None;
            return false;
        }
        match &self.in_flight {
            Some(pin) if pin.from == *mask => {
                if window >= pin.since + GIVEN_UP {
                    self.in_flight = None;
                    self.expected.clone_from(mask);
                }
                return false;
            }
            _ => {}
        }
        self.in_flight = None;
        // The kernel lets it run elsewhere when a CPU goes, and when cgroups say so.
        let lost_its_cpus = !self.expected.is_subset(online);
        self.expected.clone_from(mask);
        if is_new_room || lost_its_cpus || self.yielded || replaces {
            return false;
        }
        self.yielded = true;
        true
    }

    /// Adds what it did in a window.
    pub(super) fn measure(&mut self, did: Option<Did>, whole: f64, window: u64) {
        self.did = did;
        // In the first window after a pin it was here and there.
        let is_moving = self.pinned.is_some_and(|pinned| window <= pinned + 1);
        let Some(did) = did.filter(|_| !is_moving || self.demand.is_none()) else {
            return;
        };
        let demand = did.demand(whole);
        match self.demand {
            Some(before) => {
                self.demand = Some(before.midpoint(demand));
                self.wait = self.wait.midpoint(did.wait);
            }
            None => {
                self.demand = Some(demand);
                self.wait = did.wait;
            }
        }
    }

    /// Whether it may be pinned somewhere else in this window.
    pub(super) fn may_move(&self, window: u64, now: Moment) -> bool {
        let stays = self.pinned.is_some_and(|pinned| window < pinned + STAYS);
        let is_alone = self.alone_until.is_some_and(|until| now < until);
        !self.yielded && self.in_flight.is_none() && !stays && !is_alone && self.did.is_some()
    }

    /// Takes note that it is pinned there now.
    pub(super) fn pin(&mut self, to: Cpus, window: u64) {
        let from = std::mem::replace(&mut self.expected, to);
        self.in_flight = Some(InFlight {
            from,
            since: window,
        });
        self.pinned = Some(window);
    }

    /// Has it left alone for a while, each time for longer.
    pub(super) fn leave_alone(&mut self, now: Moment) {
        self.alone_until = Some(now + self.alone_for);
        self.alone_for = (2 * self.alone_for).min(ALONE_AT_MOST);
    }
}
