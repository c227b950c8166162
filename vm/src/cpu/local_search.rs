//! From a placement, one move or swap after the other, to one that uses the CPUs evenly with few pins.

use super::placement::Placement;

/// How many of the fullest and of the emptiest CPUs are looked at.
const CPUS: usize = 4;
/// What is gained at least; less is rounding.
const LEAST: f64 = 1e-6;
/// What costs no pin comes before all that does.
const FREE: f64 = 1000.0;
/// Where evenness cannot be had, this part of what could be gained is left for the sake of fewer pins.
const LEFT: f64 = 0.1;

/// A vCPU that goes to a slot, and one that comes back for it.
#[derive(Clone, Copy, Debug)]
struct Step {
    item: usize,
    slot: usize,
    back: Option<(usize, usize)>,
}

/// Puts each vCPU that has no place on the CPU that carries the least with it, the heaviest first.
pub(super) fn place_new(placement: &mut Placement<'_>) {
    let problem = placement.problem();
    let new = 0..problem.items.len();
    let mut new: Vec<usize> = new.filter(|item| placement.at(*item).is_none()).collect();
    new.retain(|item| problem.items[*item].movable);
    new.sort_by(|one, other| {
        let demand = |item: &usize| problem.items[*item].demand;
        demand(other).total_cmp(&demand(one))
    });
    for item in &new {
        placement.lift(*item);
    }
    for item in &new {
        let slots = 0..problem.slots.len();
        let may = slots.filter(|slot| placement.may_go(*item, *slot, None));
        let best = may.min_by(|one, other| {
            let worth = |slot: &usize| -placement.gain(*item, *slot, None);
            let count = |slot: &usize| placement.on(*slot).len();
            let by_worth = worth(one).total_cmp(&worth(other));
            let is_equal = (worth(one) - worth(other)).abs() < LEAST;
            let by_count = count(one).cmp(&count(other));
            if is_equal { by_count } else { by_worth }
        });
        match best {
            Some(slot) => placement.put(*item, slot),
            None => placement.let_down(*item),
        }
    }
}

/// Makes a placement better until it is even enough or nothing makes it better; `only_new`: by moving those that have to be
/// pinned in any case.
pub(super) fn improve(placement: &mut Placement<'_>, only_new: bool) {
    let tolerance = placement.tolerance();
    let mut way = vec![(placement.unevenness(), Vec::new())];
    // Each step makes it better; the bound is for rounding.
    for _ in 0..4 * placement.problem().items.len() {
        if placement.sigma() <= tolerance {
            break;
        }
        let Some(step) = best_step(placement, only_new) else {
            break;
        };
        let undo = apply(placement, step);
        way.push((placement.unevenness(), undo));
    }
    if placement.sigma() > tolerance && !only_new {
        leave_small_gains(placement, &way);
    }
    take_back_what_was_not_needed(placement);
}

/// Does it, and returns where those that moved were.
fn apply(placement: &mut Placement<'_>, step: Step) -> Vec<(usize, usize)> {
    let mut undo = Vec::new();
    let moves = [Some((step.item, step.slot)), step.back];
    for (item, slot) in moves.into_iter().flatten() {
        if let Some(from) = placement.at(item) {
            undo.push((item, from));
        }
        placement.put(item, slot);
    }
    undo
}

/// The move or swap between full and empty CPUs that gains the most for each pin.
fn best_step(placement: &Placement<'_>, only_new: bool) -> Option<Step> {
    let mut slots: Vec<usize> = (0..placement.problem().slots.len()).collect();
    let fullness = |slot: usize| placement.use_of(slot) + placement.use_of_core(slot);
    slots.sort_by(|one, other| fullness(*other).total_cmp(&fullness(*one)));
    let full = &slots[..CPUS.min(slots.len())];
    let empty = &slots[slots.len().saturating_sub(CPUS)..];
    let is_eligible = |item: &&usize| !only_new || placement.problem().items[**item].at.is_none();
    let demand = |item: usize| placement.problem().items[item].demand;
    let mut best: Option<(f64, Step)> = None;
    for from in full {
        for to in empty.iter().rev().filter(|to| *to != from) {
            let (a, b) = placement.gain_between(*from, *to);
            for item in placement.on(*from).iter().filter(is_eligible) {
                let swaps = placement.on(*to).iter().filter(is_eligible);
                let backs = swaps.map(|other| Some((*other, *from)));
                for back in std::iter::once(None).chain(backs) {
                    let load = demand(*item) - back.map_or(0.0, |(other, _)| demand(other));
                    let step = Step {
                        item: *item,
                        slot: *to,
                        back,
                    };
                    let worth = worth(placement, step, a * load + b * load * load);
                    let most = best.map_or(0.0, |(most, _)| most + LEAST);
                    if worth > most && may_be(placement, step) {
                        best = Some((worth, step));
                    }
                }
            }
        }
    }
    best.map(|(_, step)| step)
}

/// What a step that gains so much gains for each pin that it takes.
fn worth(placement: &Placement<'_>, step: Step, gain: f64) -> f64 {
    if gain <= LEAST {
        return 0.0;
    }
    let back = step
        .back
        .map_or(0, |(other, slot)| placement.cost(other, slot));
    let cost = placement.cost(step.item, step.slot) + back;
    if cost <= 0 {
        gain * FREE
    } else {
        gain / f64::from(cost)
    }
}

fn may_be(placement: &Placement<'_>, step: Step) -> bool {
    let back = step.back.map(|(item, _)| item);
    let comes_back = |(other, slot)| placement.may_go(other, slot, Some(step.item));
    placement.may_go(step.item, step.slot, back) && step.back.is_none_or(comes_back)
}

/// Goes the way back as far as little is lost.
fn leave_small_gains(placement: &mut Placement<'_>, way: &[(f64, Vec<(usize, usize)>)]) {
    let (Some((first, _)), Some((last, _))) = (way.first(), way.last()) else {
        return;
    };
    let enough = last + LEFT * (first - last);
    for at in (1..way.len()).rev() {
        if way[at - 1].0 > enough {
            break;
        }
        for (item, slot) in way[at].1.iter().rev() {
            placement.put(*item, *slot);
        }
    }
}

/// Moves back whoever need not have moved for it to be even enough.
fn take_back_what_was_not_needed(placement: &mut Placement<'_>) {
    if placement.sigma() > placement.tolerance() {
        return;
    }
    for item in 0..placement.problem().items.len() {
        let was = placement.problem().items[item].at;
        let (Some(was), Some(now)) = (was, placement.at(item)) else {
            continue;
        };
        if was != now && placement.may_go(item, was, None) {
            placement.put(item, was);
            if placement.sigma() > placement.tolerance() {
                placement.put(item, now);
            }
        }
    }
}
