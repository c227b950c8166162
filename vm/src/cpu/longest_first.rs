//! Places all vCPUs anew, who wants most first: even, but with many pins, as it does not ask who was where until it is done.

use super::placement::Placement;

/// Each vCPU on the emptiest CPU, who wants most first; the CPUs are then chosen so that as many vCPUs as possible stay. It does not
/// ask who may go where.
#[must_use]
pub fn longest_first<'p>(start: &Placement<'p>) -> Placement<'p> {
    let groups = groups(start);
    let slots = slots_of_groups(start, &groups);
    let mut placement = start.clone();
    for (item, group) in groups.iter().enumerate() {
        let slot = slots[*group];
        if placement.at(item) != Some(slot) {
            placement.put(item, slot);
        }
    }
    placement
}

/// The group of each vCPU; there are as many as CPUs.
fn groups(start: &Placement<'_>) -> Vec<usize> {
    let problem = start.problem();
    let demand = |item: usize| problem.items[item].demand;
    let mut order: Vec<usize> = (0..problem.items.len()).collect();
    order.sort_by(|one, other| demand(*other).total_cmp(&demand(*one)));
    let mut load: Vec<f64> = problem.slots.iter().map(|slot| slot.fixed).collect();
    let mut group = vec![0; problem.items.len()];
    for item in order {
        let emptiest = (0..load.len()).min_by(|one, other| load[*one].total_cmp(&load[*other]));
        group[item] = emptiest.unwrap_or(0);
        load[group[item]] += demand(item);
    }
    group
}

/// The CPU of each group: the pairs with the most vCPUs in common first.
fn slots_of_groups(start: &Placement<'_>, groups: &[usize]) -> Vec<usize> {
    let slots = start.problem().slots.len();
    let mut common = vec![vec![0; slots]; slots];
    for (item, group) in groups.iter().enumerate() {
        if let Some(at) = start.at(item) {
            common[*group][at] += 1;
        }
    }
    let all = (0..slots).flat_map(|group| (0..slots).map(move |slot| (group, slot)));
    let mut pairs: Vec<(usize, usize)> = all.collect();
    pairs.sort_by_key(|(group, slot)| std::cmp::Reverse(common[*group][*slot]));
    let mut slot_of: Vec<Option<usize>> = vec![None; slots];
    let mut taken = vec![false; slots];
    for (group, slot) in pairs {
        if slot_of[group].is_none() && !taken[slot] {
            slot_of[group] = Some(slot);
            taken[slot] = true;
        }
    }
    slot_of.into_iter().map(Option::unwrap_or_default).collect()
}
