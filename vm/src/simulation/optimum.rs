//! The fewest pins that make CPUs evenly used, by trying all: for few vCPUs that may be anywhere.

use crate::cpu::{Placement, Problem};

/// The fewest pins after which the use of the CPUs is as even as wanted; `None` if no pins make it so.
#[must_use]
pub fn fewest_pins(problem: &Problem) -> Option<usize> {
    let mut placement = Placement::present(problem);
    (0..=problem.items.len()).find(|pins| is_possible(&mut placement, 0, *pins))
}

/// Whether so many pins of the vCPUs from this one on suffice.
fn is_possible(placement: &mut Placement<'_>, from: usize, pins: usize) -> bool {
    if pins == 0 {
        return placement.sigma() <= placement.tolerance();
    }
    let problem = placement.problem();
    for item in from..=problem.items.len().saturating_sub(pins) {
        for slot in 0..problem.slots.len() {
            let Some(was) = placement.at(item).filter(|was| *was != slot) else {
                continue;
            };
            placement.put(item, slot);
            let is_possible = is_possible(placement, item + 1, pins - 1);
            placement.put(item, was);
            if is_possible {
                return true;
            }
        }
    }
    false
}
