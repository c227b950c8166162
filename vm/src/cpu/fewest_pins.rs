//! Looks for an even placement with fewer pins than are known to do, by trying what may be one: for few vCPUs, and for so long.

use super::placement::Placement;

/// How many moves are looked at in all.
const LOOKS: usize = 20_000;

/// An even placement with at most so many pins more than `start`, if one is found; the one with the fewest.
pub(super) fn fewest_pins<'p>(start: &Placement<'p>, most: usize) -> Option<Placement<'p>> {
    let mut search = Search {
        placement: start.clone(),
        looks: LOOKS,
    };
    let least = search.leavers(0);
    let found = (least..=most).any(|pins| search.try_all(0, pins));
    found.then_some(search.placement)
}

/// How far the search is.
struct Search<'p> {
    placement: Placement<'p>,
    /// How many moves may still be looked at.
    looks: usize,
}

impl Search<'_> {
    /// Whether so many pins of the vCPUs from this one on make it even; the placement is then that one.
    fn try_all(&mut self, from: usize, pins: usize) -> bool {
        if pins == 0 {
            return self.is_even();
        }
        if self.leavers(from) > pins {
            return false;
        }
        let problem = self.placement.problem();
        for item in from..problem.items.len() {
            if !problem.items[item].movable || (from..item).any(|other| self.are_alike(item, other))
            {
                continue;
            }
            for slot in 0..problem.slots.len() {
                if self.looks == 0 {
                    return false;
                }
                let Some(was) = self.placement.at(item) else {
                    continue;
                };
                if self.is_like_an_earlier_one(slot) || !self.placement.may_go(item, slot, None) {
                    continue;
                }
                self.looks -= 1;
                if pins == 1 && !self.may_become_even(item, slot) {
                    continue;
                }
                self.placement.put(item, slot);
                if self.try_all(item + 1, pins - 1) {
                    return true;
                }
                self.placement.put(item, was);
            }
        }
        false
    }

    fn is_even(&self) -> bool {
        self.placement.sigma() <= self.placement.tolerance()
    }

    /// How far from the mean no CPU may be alone, or it is not even.
    fn most_beside_mean(&self) -> f64 {
        self.placement.tolerance() * (self.placement.problem().slots.len() as f64).sqrt()
    }

    /// Cores are at most as uneven as CPUs, so that the score is at most twice what it is of CPUs.
    fn may_become_even(&self, item: usize, slot: usize) -> bool {
        let after = self.placement.score() - self.placement.gain(item, slot, None);
        after <= 2.0 * self.most_beside_mean().powi(2) + 1e-6
    }

    /// How many vCPUs, of those from this one on, have to leave the CPUs that carry too much, at the least.
    fn leavers(&self, from: usize) -> usize {
        let (placement, problem) = (&self.placement, self.placement.problem());
        let most = placement.mean() + self.most_beside_mean();
        let too_few = problem.items.len() + 1;
        let of_slot = |slot: usize| {
            let capacity = problem.slots[slot].capacity;
            let mut excess = (placement.use_of(slot) - most) * capacity - 1e-6;
            let on = placement.on(slot).iter();
            let may = on.filter(|item| **item >= from && problem.items[**item].movable);
            let mut demands: Vec<f64> = may.map(|item| problem.items[*item].demand).collect();
            demands.sort_by(|one, other| other.total_cmp(one));
            let mut leavers = 0;
            for demand in demands {
                if excess <= 0.0 {
                    return leavers;
                }
                excess -= demand;
                leavers += 1;
            }
            if excess > 0.0 { too_few } else { leavers }
        };
        (0..problem.slots.len()).map(of_slot).sum()
    }

    /// Whether it is the same which of two vCPUs goes.
    fn are_alike(&self, one: usize, other: usize) -> bool {
        let (place, items) = (&self.placement, &self.placement.problem().items);
        let (a, b) = (&items[one], &items[other]);
        let is_same =
            (a.demand - b.demand).abs() < 1e-9 && a.allowed == b.allowed && a.home == b.home;
        is_same
            && b.movable
            && place.at(one) == place.at(other)
            && place.is_only_child(one)
            && place.is_only_child(other)
    }

    /// Whether a CPU with a lower number is as empty.
    fn is_like_an_earlier_one(&self, slot: usize) -> bool {
        let (placement, slots) = (&self.placement, &self.placement.problem().slots);
        let is_bare = |slot: usize| placement.on(slot).is_empty() && slots[slot].fixed <= 0.0;
        let are_alike = |other: usize| {
            slots[other].node == slots[slot].node
                && (slots[other].capacity - slots[slot].capacity).abs() < 1e-9
        };
        let has_threads = placement.has_threads() || placement.is_restricted();
        !has_threads && is_bare(slot) && (0..slot).any(|other| is_bare(other) && are_alike(other))
    }
}
