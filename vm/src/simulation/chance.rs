//! Problems by chance.

use crate::cpu::{Item, Problem, Slot};

fn slots(count: u32) -> Vec<Slot> {
    let slot = |cpu| Slot {
        cpu,
        capacity: 1.0,
        fixed: 0.0,
        core: cpu,
        node: 0,
    };
    (0..count).map(slot).collect()
}

fn item(demand: f64, guest: usize, at: usize, slots: usize) -> Item {
    Item {
        demand,
        guest,
        at: Some(at),
        spread: vec![at],
        allowed: vec![true; slots],
        movable: true,
        home: None,
    }
}

/// Three or four CPUs and up to so many guests of one vCPU, each somewhere.
#[must_use]
pub fn small_problem(seed: u64, most: usize) -> Problem {
    let mut chance = fastrand::Rng::with_seed(seed);
    let slots = slots(chance.u32(3..=4));
    let count = chance.usize(slots.len() + 2..=most);
    let items = (0..count).map(|guest| {
        let demand = f64::from(chance.u32(1..=10)) * 10.0;
        item(demand, guest, chance.usize(0..slots.len()), slots.len())
    });
    let items = items.collect();
    Problem { slots, items }
}

/// So many guests of four vCPUs each on so many CPUs, each somewhere, but siblings apart.
#[must_use]
pub fn large_problem(seed: u64, guests: usize, cpus: u32) -> Problem {
    let mut chance = fastrand::Rng::with_seed(seed);
    let slots = slots(cpus);
    let mut items = Vec::new();
    for guest in 0..guests {
        let first = chance.usize(0..slots.len());
        for vcpu in 0..4 {
            let demand = 10.0 + 80.0 * chance.f64();
            let at = (first + vcpu * slots.len() / 4) % slots.len();
            items.push(item(demand, guest, at, slots.len()));
        }
    }
    Problem { slots, items }
}
