//! On which CPUs a job runs while it is profiled, and where injectors run beside it. Pure.

use std::collections::BTreeMap;

use auto_ext_service::cpu_list::Cpus;

use crate::topology::Domain;

/// So many injectors of the last cache run at once at most: each has some memory.
const MAX_OTHERS: usize = 8;

/// Who runs where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seats {
    /// Where the job runs: one CPU of a core for each worker.
    pub workload: Cpus,
    /// The other hardware threads of these cores.
    pub siblings: Cpus,
    /// One CPU of each other core, or of some of them.
    pub others: Cpus,
}

/// Why there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSeats {
    /// Each worker has to have a core.
    #[error("it has {workers} workers, and there are {cores} cores with hardware threads to share")]
    TooManyWorkers {
        /// How many it has.
        workers: u32,
        /// How many there are.
        cores: usize,
    },
}

impl Seats {
    /// Of a job with so many workers, on the cores of a domain on which it spends most time already; `used` is that by CPU.
    ///
    /// # Errors
    /// When there are fewer cores than workers.
    pub fn new(domain: &Domain, workers: u32, used: &BTreeMap<u32, u64>) -> Result<Self, NoSeats> {
        let wanted = workers.max(1) as usize;
        let time = |cpu: &u32| used.get(cpu).copied().unwrap_or(0);
        let mut cores: Vec<&Cpus> = domain.cores.iter().map(|core| &core.cpus).collect();
        cores.sort_by_key(|cpus| std::cmp::Reverse(cpus.iter().map(time).sum::<u64>()));
        if cores.len() < wanted {
            return Err(NoSeats::TooManyWorkers {
                workers,
                cores: cores.len(),
            });
        }
        let (of_job, rest) = cores.split_at(wanted);
        // The first of those with the most time.
        let best = |cpus: &&Cpus| cpus.iter().rev().copied().max_by_key(time);
        let workload: Cpus = of_job.iter().filter_map(best).collect();
        let all: Cpus = of_job
            .iter()
            .flat_map(|cpus| cpus.iter().copied())
            .collect();
        let others = rest.iter().filter_map(|cpus| cpus.first().copied());
        Ok(Self {
            siblings: &all - &workload,
            workload,
            others: others.collect(),
        })
    }

    /// Keeps of the other cores a few that share a cache with the job, as these CPUs do.
    #[must_use]
    pub fn near(mut self, cpus: &Cpus) -> Self {
        let near = self.others.intersection(cpus).copied();
        self.others = near.take(MAX_OTHERS).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Core, Place};

    fn domain(cores: u32) -> Domain {
        let core = |first: u32| Core {
            cpus: [first, first + cores].into(),
        };
        Domain {
            place: Place {
                package: None,
                node: None,
            },
            cores: (0..cores).map(core).collect(),
        }
    }

    #[test]
    fn a_job_stays_where_it_is_and_injectors_are_on_its_siblings() {
        let used = BTreeMap::from([(6, 90), (1, 5), (3, 40)]);
        let one = Seats::new(&domain(4), 1, &used).unwrap();
        assert_eq!(one.workload, [6].into());
        assert_eq!(one.siblings, [2].into());
        assert_eq!(one.others, [0, 1, 3].into());
        assert_eq!(one.clone().near(&[1, 2, 3, 5].into()).others, [1, 3].into());
        let many = Seats::new(&domain(40), 1, &used).unwrap();
        assert_eq!(many.near(&(0..80).collect()).others.len(), MAX_OTHERS);
        let two = Seats::new(&domain(4), 2, &used).unwrap();
        assert_eq!((two.workload, two.siblings), ([3, 6].into(), [2, 7].into()));
    }

    #[test]
    fn a_job_with_more_workers_than_cores_is_not_profiled() {
        let none = Seats::new(&domain(2), 3, &BTreeMap::new());
        assert_eq!(
            none,
            Err(NoSeats::TooManyWorkers {
                workers: 3,
                cores: 2
            })
        );
        let all = Seats::new(&domain(2), 2, &BTreeMap::new()).unwrap();
        assert_eq!((all.workload, all.others), ([0, 1].into(), [].into()));
    }
}
