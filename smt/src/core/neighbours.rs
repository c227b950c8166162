//! Beside whom each group ran in a window, by where its threads were seen and how busy CPUs were. Pure.
//!
//! Threads are seen at both ends of a window alone. So a window says something only where times bear out that nobody was anywhere
//! else meanwhile: a group ran no longer than its CPUs were busy, and whoever is a neighbour kept its CPUs busy by itself.

use std::collections::BTreeMap;

use auto_ext_service::cpu_list::Cpus;

use crate::topology::Core;

/// A CPU that was idle for this part of a window slowed nobody down.
const IDLE: f64 = 0.95;
/// One that was idle for no more than this part was there all the time.
const BUSY: f64 = 0.1;
/// By which part times may differ that are the same: they are counted at moments that are not.
const TOLERANCE: f64 = 0.1;

/// The time of a CPU in a window, in any unit that is the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In which it ran something.
    pub busy: u64,
    /// In which it ran nothing.
    pub idle: u64,
}

/// What a group did in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// The CPUs on which those of its threads were seen that ran.
    pub cpus: Cpus,
    /// For how long all its threads ran, in the same unit.
    pub time: u64,
}

/// Who was on the other hardware threads of a group's cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// Nobody.
    Nobody,
    /// This group all the time, which may be the same.
    Group(usize),
}

/// The neighbour of each group; `None` where it had several, or one for a part of the time, or that cannot be told.
#[must_use]
pub fn neighbours(
    cores: &[Core],
    cpus: &BTreeMap<u32, CpuTime>,
    groups: &[Ran],
) -> Vec<Option<Neighbour>> {
    let window = Window {
        cores,
        cpus,
        groups,
    };
    (0..groups.len())
        .map(|group| window.neighbour(group))
        .collect()
}

struct Window<'w> {
    cores: &'w [Core],
    cpus: &'w BTreeMap<u32, CpuTime>,
    groups: &'w [Ran],
}

impl Window<'_> {
    fn neighbour(&self, group: usize) -> Option<Neighbour> {
        let ran = self.groups.get(group)?;
        if ran.cpus.is_empty() || !self.was_nowhere_else(ran)? {
            return None;
        }
        let siblings = self.siblings(&ran.cpus)?;
        let idle: Vec<f64> = siblings
            .iter()
            .map(|(_, sibling)| self.cpus.get(sibling)?.idle_part())
            .collect::<Option<_>>()?;
        if idle.iter().all(|idle| *idle >= IDLE) {
            return Some(Neighbour::Nobody);
        }
        let is_shared_by_two = siblings.iter().all(|(threads, _)| *threads == 2);
        if !is_shared_by_two || idle.iter().any(|idle| *idle > BUSY) {
            return None;
        }
        let mut beside = siblings.iter().map(|(_, sibling)| self.only_on(*sibling));
        let first = beside.next()??;
        let same = beside.all(|other| other == Some(first));
        let both = [group, first];
        let alone = both.iter().all(|one| {
            let ran = self.groups.get(*one);
            ran.and_then(|ran| self.had_for_itself(ran)) == Some(true)
        });
        (same && alone).then_some(Neighbour::Group(first))
    }

    /// The other hardware threads of the cores of some CPUs, each with how many its core has; `None` where a CPU is of no core that
    /// has others.
    fn siblings(&self, cpus: &Cpus) -> Option<Vec<(usize, u32)>> {
        let mut siblings = Vec::new();
        for cpu in cpus {
            let core = self.cores.iter().find(|core| core.cpus.contains(cpu))?;
            let others = core.cpus.iter().filter(|other| *other != cpu);
            siblings.extend(others.map(|other| (core.cpus.len(), *other)));
        }
        Some(siblings)
    }

    /// The one group that was seen on a CPU.
    fn only_on(&self, cpu: u32) -> Option<usize> {
        let groups = self.groups.iter().enumerate();
        let mut there = groups.filter(|(_, ran)| ran.cpus.contains(&cpu));
        let (group, _) = there.next()?;
        there.next().is_none().then_some(group)
    }

    /// For how long a group's CPUs were busy.
    fn busy(&self, ran: &Ran) -> Option<f64> {
        let busy = ran.cpus.iter().map(|cpu| Some(self.cpus.get(cpu)?.busy));
        let busy: u64 = busy.sum::<Option<u64>>()?;
        Some(busy as f64)
    }

    fn was_nowhere_else(&self, ran: &Ran) -> Option<bool> {
        Some(ran.time as f64 <= (1.0 + TOLERANCE) * self.busy(ran)?)
    }

    fn had_for_itself(&self, ran: &Ran) -> Option<bool> {
        let busy = self.busy(ran)?;
        let ran = ran.time as f64;
        Some(ran >= (1.0 - TOLERANCE) * busy && ran <= (1.0 + TOLERANCE) * busy)
    }
}

impl CpuTime {
    /// Which part of it it ran something; `None` where no time passed.
    #[must_use]
    pub fn busy_part(self) -> Option<f64> {
        self.idle_part().map(|idle| 1.0 - idle)
    }

    /// `None` where no time passed.
    fn idle_part(self) -> Option<f64> {
        let all = self.busy.checked_add(self.idle)?;
        (all > 0).then(|| self.idle as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cores of the CPUs 0 and 4, 1 and 5, 2 and 6, 3 and 7; CPU 8 has none.
    fn cores() -> Vec<Core> {
        let core = |first: u32| Core {
            cpus: [first, first + 4].into(),
        };
        (0..4).map(core).collect()
    }

    /// How busy each CPU was, of 1000.
    fn cpus(busy: [u64; 9]) -> BTreeMap<u32, CpuTime> {
        let time = |busy| CpuTime {
            busy,
            idle: 1000 - busy,
        };
        (0..).zip(busy.map(time)).collect()
    }

    fn ran<const N: usize>(time: u64, cpus: [u32; N]) -> Ran {
        Ran {
            cpus: cpus.into(),
            time,
        }
    }

    fn of(busy: [u64; 9], groups: &[Ran]) -> Vec<Option<Neighbour>> {
        neighbours(&cores(), &cpus(busy), groups)
    }

    #[test]
    fn who_had_cores_for_itself_ran_beside_nobody() {
        let busy = [1000, 990, 0, 0, 40, 50, 0, 0, 0];
        assert_eq!(
            of(busy, &[ran(1980, [0, 1])]),
            [Some(Neighbour::Nobody)],
            "two workers on two cores"
        );
        let busy = [1000, 990, 0, 0, 40, 60, 0, 0, 0];
        assert_eq!(of(busy, &[ran(1980, [0, 1])]), [None], "a sibling ran");
    }

    #[test]
    fn two_that_fill_a_core_are_neighbours() {
        let busy = [1000, 0, 0, 0, 1000, 0, 0, 0, 0];
        assert_eq!(
            of(busy, &[ran(990, [0]), ran(1000, [4])]),
            [Some(Neighbour::Group(1)), Some(Neighbour::Group(0))]
        );
        assert_eq!(
            of(busy, &[ran(1990, [0, 4])]),
            [Some(Neighbour::Group(0))],
            "beside itself"
        );
    }

    #[test]
    fn who_has_several_neighbours_or_one_for_a_while_says_nothing() {
        let busy = [1000, 1000, 0, 0, 1000, 1000, 0, 0, 0];
        let several = [ran(2000, [0, 1]), ran(1000, [4]), ran(1000, [5])];
        assert_eq!(
            of(busy, &several),
            [None, Some(Neighbour::Group(0)), Some(Neighbour::Group(0))]
        );
        let half = [1000, 0, 0, 0, 500, 0, 0, 0, 0];
        assert_eq!(
            of(half, &[ran(1000, [0]), ran(500, [4])]),
            [None, Some(Neighbour::Group(0))],
            "whenever the second ran, the first was there"
        );
    }

    #[test]
    fn times_that_do_not_fit_say_that_somebody_was_elsewhere() {
        // It was seen on CPU 0, which was busy for less than it ran.
        let busy = [500, 1000, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(of(busy, &[ran(1000, [0])]), [None]);
        // Somebody who was not seen kept the sibling busy.
        let busy = [1000, 0, 0, 0, 1000, 0, 0, 0, 0];
        assert_eq!(of(busy, &[ran(1000, [0]), ran(300, [4])]), [None, None]);
        // And somebody else shared the sibling.
        let three = [ran(1000, [0]), ran(500, [4]), ran(500, [4])];
        assert_eq!(of(busy, &three)[0], None);
    }

    #[test]
    fn without_a_core_a_time_or_a_thread_that_ran_nothing_is_said() {
        let busy = [1000, 0, 0, 0, 0, 0, 0, 0, 1000];
        assert_eq!(of(busy, &[ran(1000, [8])]), [None], "no hardware threads");
        assert_eq!(of(busy, &[ran(0, [])]), [None]);
        assert_eq!(
            neighbours(&cores(), &BTreeMap::new(), &[ran(1, [0])]),
            [None]
        );
        let still = BTreeMap::from([(0, CpuTime::default()), (4, CpuTime::default())]);
        assert_eq!(neighbours(&cores(), &still, &[ran(0, [0])]), [None]);
    }

    #[test]
    fn of_four_hardware_threads_it_is_not_known_who_slowed_whom() {
        let core = Core {
            cpus: [0, 1, 2, 3].into(),
        };
        let cpus = cpus([1000, 1000, 0, 0, 0, 0, 0, 0, 0]);
        let groups = [ran(1000, [0]), ran(1000, [1])];
        assert_eq!(neighbours(&[core], &cpus, &groups), [None, None]);
    }
}
