//! Which core of a plan is which core of the machine, so that as few groups as possible move; and the plan that moves the fewest
//! of those that are as good.

use std::collections::BTreeSet;

use super::request::{Plan, Request, SAME};

/// Which groups' workers are on each core of the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The workers of each core, by the places of their groups; empty hardware threads come last.
    pub cores: Vec<Vec<Option<usize>>>,
    /// What all of it is worth.
    pub total: f64,
}

impl Placement {
    /// The cores of each group.
    fn of_groups(&self, groups: usize) -> Vec<BTreeSet<usize>> {
        let mut of_groups = vec![BTreeSet::new(); groups];
        for (at, core) in self.cores.iter().enumerate() {
            for group in core.iter().flatten() {
                if let Some(cores) = of_groups.get_mut(*group) {
                    cores.insert(at);
                }
            }
        }
        of_groups
    }

    /// The slots of each core, if they are those of a request: all its workers, and threads as it has them.
    pub(super) fn slots(&self, request: Request<'_>) -> Option<Vec<Vec<usize>>> {
        let empty = request.scores.empty();
        let mut left = request.workers.to_vec();
        let mut cores = Vec::with_capacity(self.cores.len());
        if self.cores.len() != request.threads.len() {
            return None;
        }
        for (core, threads) in self.cores.iter().zip(request.threads) {
            if core.len() != *threads {
                return None;
            }
            for group in core.iter().flatten() {
                let left = left.get_mut(*group)?;
                *left = left.checked_sub(1)?;
            }
            cores.push(core.iter().map(|slot| slot.unwrap_or(empty)).collect());
        }
        left.iter().all(|left| *left == 0).then_some(cores)
    }

    /// How many groups of so many are on other cores than in `other`.
    #[must_use]
    pub fn moved_from(&self, other: &Self, groups: usize) -> usize {
        let both = self
            .of_groups(groups)
            .into_iter()
            .zip(other.of_groups(groups));
        both.filter(|(here, there)| here != there).count()
    }
}

/// Puts the cores of a plan where most of their groups are in `found` already. Which core is which means nothing without it.
#[must_use]
pub fn place(plan: &Plan, found: Option<&Placement>) -> Placement {
    let mut cores: Vec<Option<usize>> = vec![None; plan.cores.len()];
    let found = found.filter(|found| found.cores.len() == plan.cores.len());
    let stays = |planned: usize, core: usize| -> usize {
        let there = found.map(|found| &found.cores[core]);
        let mut there: Vec<usize> = there.into_iter().flatten().flatten().copied().collect();
        let mut stay = 0;
        for group in plan.cores[planned].iter().flatten() {
            if let Some(at) = there.iter().position(|other| other == group) {
                there.swap_remove(at);
                stay += 1;
            }
        }
        stay
    };
    let mut placed = BTreeSet::new();
    let all = 0..plan.cores.len();
    // Whole cores first, then those of which at least one worker stays. The plan's core has to have as many threads.
    let fits = |planned: usize, core: usize| {
        let threads = plan.cores[core].len();
        plan.cores[planned].len() == threads
    };
    let mut ways: Vec<(usize, usize, usize)> = Vec::new();
    if found.is_some() {
        for planned in all.clone() {
            for core in all.clone().filter(|core| fits(planned, *core)) {
                let stay = stays(planned, core);
                if stay > 0 {
                    ways.push((stay, planned, core));
                }
            }
        }
        ways.sort_by_key(|(stay, planned, core)| (std::cmp::Reverse(*stay), *planned, *core));
    }
    for (_, planned, core) in ways {
        if cores[core].is_none() && !placed.contains(&planned) {
            cores[core] = Some(planned);
            placed.insert(planned);
        }
    }
    for planned in all.clone().filter(|planned| !placed.contains(planned)) {
        let free = all
            .clone()
            .find(|core| cores[*core].is_none() && fits(planned, *core));
        if let Some(core) = free {
            cores[core] = Some(planned);
        }
    }
    let empty = Vec::new();
    let of = |planned: Option<usize>| planned.map_or(&empty, |at| &plan.cores[at]).clone();
    Placement {
        cores: cores.into_iter().map(of).collect(),
        total: plan.total,
    }
}

/// Of plans, placed as near to `found` as they can be, the one that moves the fewest groups of those as good as the best one.
#[must_use]
pub fn steadiest(plans: &[Plan], found: &Placement, groups: usize) -> Option<Placement> {
    let best = plans.iter().map(|plan| plan.total).reduce(f64::max)?;
    let as_good = plans
        .iter()
        .filter(|plan| plan.total >= best * (1.0 - SAME));
    let placed = as_good.map(|plan| place(plan, Some(found)));
    // Of those that move as many the first one, which is the best.
    placed.min_by_key(|placement| placement.moved_from(found, groups))
}
