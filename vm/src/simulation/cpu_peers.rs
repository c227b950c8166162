//! How others place vCPUs, from descriptions of what they do.

use crate::cpu::{Placement, Problem, longest_first};

/// What another makes of a problem.
type Way = fn(&Problem) -> Placement<'_>;

/// Each of them, by its name.
pub const CPU_PEERS: [(&str, Way); 2] = [
    ("hottest to coolest", hottest_to_coolest),
    ("longest first", |problem| {
        longest_first(&Placement::present(problem))
    }),
];

/// Moves the vCPU that wants most from the fullest to the emptiest CPU, as long as that is of use.
#[must_use]
pub fn hottest_to_coolest(problem: &Problem) -> Placement<'_> {
    let mut placement = Placement::present(problem);
    for _ in 0..problem.items.len() {
        let slots = 0..problem.slots.len();
        let fullest = slots
            .clone()
            .max_by(|one, other| placement.use_of(*one).total_cmp(&placement.use_of(*other)));
        let emptiest =
            slots.min_by(|one, other| placement.use_of(*one).total_cmp(&placement.use_of(*other)));
        let (Some(from), Some(to)) = (fullest, emptiest) else {
            break;
        };
        let demand = |item: &usize| problem.items[*item].demand;
        let may = placement
            .on(from)
            .iter()
            .copied()
            .filter(|item| placement.may_go(*item, to, None));
        let hottest = may.max_by(|one, other| demand(one).total_cmp(&demand(other)));
        let Some(item) = hottest.filter(|_| placement.sigma() > placement.tolerance()) else {
            break;
        };
        if placement.gain(item, to, None) <= 0.0 {
            break;
        }
        placement.put(item, to);
    }
    placement
}
