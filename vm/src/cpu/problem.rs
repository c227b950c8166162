//! What is planned: CPUs with what they carry anyway, and vCPUs with what they want and where they may go.

/// A CPU that vCPUs may be put on.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its number on the host.
    pub cpu: u32,
    /// What it can do, of a CPU of full speed.
    pub capacity: f64,
    /// What it carries that is not planned, in percent of a CPU of full speed.
    pub fixed: f64,
    /// The core that it is a thread of.
    pub core: u32,
    /// The node that it is on.
    pub node: u32,
}

/// A vCPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What it wants, in percent of a CPU of full speed.
    pub demand: f64,
    /// Whose it is, by a number.
    pub guest: usize,
    /// The slot to which it is pinned; `None` where it has yet to be placed.
    pub at: Option<usize>,
    /// The slots between which it moves until then.
    pub spread: Vec<usize>,
    /// Whether it may be on each slot.
    pub allowed: Vec<bool>,
    /// Whether it may be moved now.
    pub movable: bool,
    /// The node that it leaves only in need.
    pub home: Option<u32>,
}

/// CPUs and vCPUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problem {
    /// The CPUs.
    pub slots: Vec<Slot>,
    /// The vCPUs, in an order that does not change from plan to plan.
    pub items: Vec<Item>,
}

impl Problem {
    /// How many guests there are.
    #[must_use]
    pub fn guests(&self) -> usize {
        let numbers = self.items.iter().map(|item| item.guest + 1);
        numbers.max().unwrap_or(0)
    }

    /// Of each guest, whether there are enough CPUs for its vCPUs to have one each.
    #[must_use]
    pub(super) fn can_be_apart(&self) -> Vec<bool> {
        let mut vcpus = vec![0; self.guests()];
        let mut reached = vec![vec![false; self.slots.len()]; self.guests()];
        for item in &self.items {
            vcpus[item.guest] += 1;
            for (reached, allowed) in reached[item.guest].iter_mut().zip(&item.allowed) {
                *reached |= allowed;
            }
        }
        let enough = vcpus.iter().zip(&reached);
        enough
            .map(|(vcpus, reached)| *vcpus <= reached.iter().filter(|reached| **reached).count())
            .collect()
    }

    /// Has vCPUs placed anew that share a CPU with one of their own guest, though there are enough.
    pub fn part_siblings(&mut self) {
        let apart = self.can_be_apart();
        let mut taken = std::collections::BTreeSet::new();
        // Who cannot be moved stays.
        for movable in [false, true] {
            for item in &mut self.items {
                let Some(at) = item.at.filter(|_| item.movable == movable) else {
                    continue;
                };
                if !taken.insert((item.guest, at)) && movable && apart[item.guest] {
                    item.at = None;
                    item.spread = vec![at];
                }
            }
        }
    }
}
