//! vCPUs on CPUs: how evenly that uses them, and what each change to it is worth.

use std::collections::BTreeMap;

use super::problem::Problem;

/// How much fuller its home has to be than another node for a vCPU to leave it, in percent.
const LEAVES_HOME: f64 = 30.0;
/// The least standard deviation of use that is too much, in percent.
const TOLERANCE: f64 = 5.0;

/// Which vCPU is on which CPU, and what follows from it.
#[derive(Clone, Debug)]
pub struct Placement<'p> {
    problem: &'p Problem,
    at: Vec<Option<usize>>,
    load: Vec<f64>,
    on: Vec<Vec<usize>>,
    /// How many vCPUs of each guest are on each slot, guest by guest.
    siblings: Vec<u16>,
    apart: Vec<bool>,
    /// Who is about to be placed and carried by no CPU.
    lifted: Vec<bool>,
    /// What those of them want whose home is a node, by node.
    lifted_from: BTreeMap<u32, f64>,
    is_restricted: bool,
    /// The core of each slot, counted from 0, and of each core what it carries, can do, and how many threads it has.
    core: Vec<usize>,
    core_load: Vec<f64>,
    core_capacity: Vec<f64>,
    threads: Vec<f64>,
    /// What each CPU would carry if all carried the same.
    mean: f64,
}

impl<'p> Placement<'p> {
    /// How it is now.
    #[must_use]
    pub fn present(problem: &'p Problem) -> Self {
        let slots = problem.slots.len();
        let mut numbers = BTreeMap::new();
        for slot in &problem.slots {
            let next = numbers.len();
            numbers.entry(slot.core).or_insert(next);
        }
        let core: Vec<usize> = problem
            .slots
            .iter()
            .map(|slot| numbers[&slot.core])
            .collect();
        let mut placement = Self {
            problem,
            at: vec![None; problem.items.len()],
            load: vec![0.0; slots],
            on: vec![Vec::new(); slots],
            siblings: vec![0; problem.guests() * slots],
            apart: problem.can_be_apart(),
            lifted: vec![false; problem.items.len()],
            lifted_from: BTreeMap::new(),
            is_restricted: problem
                .items
                .iter()
                .any(|item| item.allowed.contains(&false)),
            core_load: vec![0.0; numbers.len()],
            core_capacity: vec![0.0; numbers.len()],
            threads: vec![0.0; numbers.len()],
            core,
            mean: 0.0,
        };
        for (at, slot) in problem.slots.iter().enumerate() {
            placement.core_capacity[placement.core[at]] += slot.capacity;
            placement.threads[placement.core[at]] += 1.0;
            placement.add(at, slot.fixed);
        }
        for (item, one) in problem.items.iter().enumerate() {
            match one.at {
                Some(at) => placement.set(item, at),
                None => placement.spread(item, 1.0),
            }
        }
        let capacity: f64 = placement.core_capacity.iter().sum();
        placement.mean = placement.load.iter().sum::<f64>() / capacity.max(f64::MIN_POSITIVE);
        placement
    }

    /// What is planned.
    #[must_use]
    pub fn problem(&self) -> &'p Problem {
        self.problem
    }

    /// The slot of a vCPU.
    #[must_use]
    pub fn at(&self, item: usize) -> Option<usize> {
        self.at[item]
    }

    /// The vCPUs on a slot.
    #[must_use]
    pub fn on(&self, slot: usize) -> &[usize] {
        &self.on[slot]
    }

    /// How much of a slot is wanted, in percent of what it can do.
    #[must_use]
    pub fn use_of(&self, slot: usize) -> f64 {
        self.load[slot] / self.problem.slots[slot].capacity
    }

    /// The same of its core.
    #[must_use]
    pub fn use_of_core(&self, slot: usize) -> f64 {
        let core = self.core[slot];
        self.core_load[core] / self.core_capacity[core]
    }

    /// The standard deviation of the CPUs' use, in percent.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        let slots = self.load.len().max(1);
        (self.cpu_terms().sum::<f64>() / slots as f64).sqrt()
    }

    /// The standard deviation of CPUs and of cores in one; where each CPU is a core, [`Self::sigma`].
    #[must_use]
    pub fn unevenness(&self) -> f64 {
        let slots = self.load.len().max(1);
        (self.score() / (2 * slots) as f64).sqrt()
    }

    /// What is minimised: how far CPUs and cores are from the mean, squared. Cores count as much as their threads.
    #[must_use]
    pub fn score(&self) -> f64 {
        let cores = (0..self.threads.len()).map(|core| self.core_term(core, 0.0));
        self.cpu_terms().sum::<f64>() + cores.sum::<f64>()
    }

    /// Up to which standard deviation nothing is done: where CPUs are wanted several times over, more.
    #[must_use]
    pub fn tolerance(&self) -> f64 {
        TOLERANCE.max(self.mean / 10.0 - 5.0)
    }

    /// How many vCPUs are not where they were.
    #[must_use]
    pub fn pins(&self) -> usize {
        (0..self.at.len()).filter(|item| self.is_pin(*item)).count()
    }

    /// Whether it has to be pinned for this.
    #[must_use]
    pub fn is_pin(&self, item: usize) -> bool {
        self.at[item].is_some() && self.at[item] != self.problem.items[item].at
    }

    /// How many pins more it takes to have a vCPU there.
    #[must_use]
    pub fn cost(&self, item: usize, slot: usize) -> i32 {
        let was = self.problem.items[item].at;
        match was {
            // It has to be pinned in any case.
            None => 0,
            Some(_) => i32::from(was != Some(slot)) - i32::from(was != self.at[item]),
        }
    }

    /// Whether a vCPU may go to a slot, from which `leaving` goes away.
    #[must_use]
    pub fn may_go(&self, item: usize, slot: usize, leaving: Option<usize>) -> bool {
        let one = &self.problem.items[item];
        if !one.movable || !one.allowed[slot] || self.at[item] == Some(slot) {
            return false;
        }
        let leaves = leaving.is_some_and(|other| self.problem.items[other].guest == one.guest);
        let siblings = self.siblings[one.guest * self.load.len() + slot] - u16::from(leaves);
        if self.apart[one.guest] && siblings > 0 {
            return false;
        }
        let to = self.problem.slots[slot].node;
        let comes_from = self.at[item].map(|at| self.problem.slots[at].node);
        match one.home {
            Some(home) if home != to && comes_from != Some(to) => {
                match self.use_of_node(home) {
                    Some(of_home) => {
                        of_home - self.use_of_node(to).unwrap_or_default() > LEAVES_HOME
                    }
                    // It may not be on its home at all.
                    None => true,
                }
            }
            _ => true,
        }
    }

    /// Who has no place yet will be at home.
    fn use_of_node(&self, node: u32) -> Option<f64> {
        let waiting = self.lifted_from.get(&node).copied().unwrap_or_default();
        let slots = self.problem.slots.iter().zip(&self.load);
        let of_node = slots.filter(|(slot, _)| slot.node == node);
        let sum = of_node.fold((waiting, 0.0), |(load, capacity), (slot, its)| {
            (load + its, capacity + slot.capacity)
        });
        (sum.1 > 0.0).then(|| sum.0 / sum.1)
    }

    /// By how much [`Self::score`] falls when a vCPU goes to a slot, from which `back` comes in exchange.
    #[must_use]
    pub fn gain(&self, item: usize, slot: usize, back: Option<usize>) -> f64 {
        let demand = |item: usize| self.problem.items[item].demand;
        let more = demand(item) - back.map_or(0.0, demand);
        let Some(from) = self.at[item] else {
            return -(self.cpu_change(slot, more) + self.core_change(self.core[slot], more));
        };
        let (here, there) = (self.core[from], self.core[slot]);
        let cpus = self.cpu_change(from, -more) + self.cpu_change(slot, more);
        if here == there {
            return -cpus;
        }
        -(cpus + self.core_change(here, -more) + self.core_change(there, more))
    }

    /// By how much [`Self::score`] falls when so much less is on one slot and so much more on another: `a * load + b * load^2`, of
    /// which these are `a` and `b`.
    #[must_use]
    pub fn gain_between(&self, from: usize, to: usize) -> (f64, f64) {
        let gain = |load: f64| {
            let cpus = self.cpu_change(from, -load) + self.cpu_change(to, load);
            let (here, there) = (self.core[from], self.core[to]);
            if here == there {
                -cpus
            } else {
                -(cpus + self.core_change(here, -load) + self.core_change(there, load))
            }
        };
        let (more, less) = (gain(1.0), gain(-1.0));
        ((more - less) / 2.0, (more + less) / 2.0)
    }

    /// Puts a vCPU on a slot.
    pub fn put(&mut self, item: usize, slot: usize) {
        match self.at[item] {
            Some(from) => {
                self.on[from].retain(|other| *other != item);
                let guest = self.problem.items[item].guest;
                self.siblings[guest * self.load.len() + from] -= 1;
                self.add(from, -self.problem.items[item].demand);
            }
            None => {
                self.lift(item);
                self.count_lifted(item, -1.0);
                self.lifted[item] = false;
            }
        }
        self.set(item, slot);
    }

    /// Has no CPU carry a vCPU that has no place yet.
    pub fn lift(&mut self, item: usize) {
        if !self.lifted[item] {
            self.spread(item, -1.0);
            self.count_lifted(item, 1.0);
            self.lifted[item] = true;
        }
    }

    /// Ends that where it found no place.
    pub fn let_down(&mut self, item: usize) {
        if self.lifted[item] {
            self.spread(item, 1.0);
            self.count_lifted(item, -1.0);
            self.lifted[item] = false;
        }
    }

    fn count_lifted(&mut self, item: usize, sign: f64) {
        let one = &self.problem.items[item];
        if let Some(home) = one.home {
            *self.lifted_from.entry(home).or_default() += sign * one.demand;
        }
    }

    /// What each CPU would carry if all carried the same, in percent of what it can do.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Whether cores have several threads.
    pub(super) fn has_threads(&self) -> bool {
        self.threads.iter().any(|threads| *threads > 1.0)
    }

    /// Whether some vCPU may not be everywhere.
    pub(super) fn is_restricted(&self) -> bool {
        self.is_restricted
    }

    /// Whether a vCPU is the only one of its guest.
    pub(super) fn is_only_child(&self, item: usize) -> bool {
        let slots = self.load.len();
        let guest = self.problem.items[item].guest;
        let of_guest = &self.siblings[guest * slots..(guest + 1) * slots];
        of_guest.iter().sum::<u16>() <= 1
    }

    /// Whether all that moved may be where they are.
    pub(super) fn is_allowed(&self) -> bool {
        let slots = self.load.len().max(1);
        let guests = self.siblings.chunks(slots).zip(&self.apart);
        let are_apart = guests
            .filter(|(_, apart)| **apart)
            .all(|(on, _)| on.iter().all(|count| *count <= 1));
        let may = |item: usize| {
            let one = &self.problem.items[item];
            let stays_home = |at: usize| {
                one.home
                    .is_none_or(|home| home == self.problem.slots[at].node)
            };
            let at = self.at[item];
            at == one.at || one.movable && at.is_some_and(|at| one.allowed[at] && stays_home(at))
        };
        are_apart && (0..self.at.len()).all(may)
    }

    fn set(&mut self, item: usize, slot: usize) {
        let one = &self.problem.items[item];
        self.at[item] = Some(slot);
        self.on[slot].push(item);
        self.siblings[one.guest * self.load.len() + slot] += 1;
        self.add(slot, one.demand);
    }

    fn spread(&mut self, item: usize, sign: f64) {
        let one = &self.problem.items[item];
        let share = sign * one.demand / one.spread.len().max(1) as f64;
        for slot in &one.spread {
            self.add(*slot, share);
        }
    }

    fn add(&mut self, slot: usize, load: f64) {
        self.load[slot] += load;
        self.core_load[self.core[slot]] += load;
    }

    fn cpu_terms(&self) -> impl Iterator<Item = f64> {
        (0..self.load.len()).map(|slot| self.cpu_term(slot, 0.0))
    }

    fn cpu_term(&self, slot: usize, more: f64) -> f64 {
        ((self.load[slot] + more) / self.problem.slots[slot].capacity - self.mean).powi(2)
    }

    fn cpu_change(&self, slot: usize, more: f64) -> f64 {
        self.cpu_term(slot, more) - self.cpu_term(slot, 0.0)
    }

    fn core_term(&self, core: usize, more: f64) -> f64 {
        let of = (self.core_load[core] + more) / self.core_capacity[core];
        self.threads[core] * (of - self.mean).powi(2)
    }

    fn core_change(&self, core: usize, more: f64) -> f64 {
        self.core_term(core, more) - self.core_term(core, 0.0)
    }
}
