//! What is measured, one after the other. Pure.

use std::time::Duration;

use crate::injector::{Injector, Level};
use crate::model::{Kind, Resource};

use super::seats::Seats;

/// How long an injector is counted without a job.
const WITHOUT_JOB: Duration = Duration::from_secs(2);
/// How often a job is counted alone at first. It has moved by then, and what it needs is in the caches.
const ALONE: usize = 6;

/// One step: these injectors run on these CPUs for so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is measured by it.
    pub what: What,
    /// Who runs beside the job.
    pub injectors: Vec<(Injector, u32)>,
    /// For how long.
    pub lasts: Duration,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The job alone.
    Alone,
    /// The job beside injectors.
    Beside(Injector),
    /// An injector alone at its lowest level.
    InjectorAlone(Resource),
    /// The injector of a cache at its highest level beside another of this one.
    AmongInjectors(Injector),
}

/// What is measured of a job by these injectors, for so long at each step.
#[must_use]
pub fn steps(injectors: &[Injector], seats: &Seats, lasts: Duration) -> Vec<Step> {
    let alone = Step {
        what: What::Alone,
        injectors: Vec::new(),
        lasts,
    };
    let mut steps = vec![alone; ALONE];
    for injector in injectors {
        // The last cache is loaded from other cores, as it is only to be seen how fast the job is when others want it too.
        let cpus = match (injector.resource(), injector.level()) {
            (Resource::L3Cache, Level::Low) => &seats.others,
            (Resource::L3Cache, _) => continue,
            _ => &seats.siblings,
        };
        steps.push(Step {
            what: What::Beside(*injector),
            injectors: cpus.iter().map(|cpu| (*injector, *cpu)).collect(),
            lasts,
        });
    }
    steps
}

/// What is measured of the injectors themselves, on two hardware threads of a core that is idle.
#[must_use]
pub fn baselines(injectors: &[Injector], core: [u32; 2]) -> Vec<Step> {
    let [cpu, sibling] = core;
    let lowest = |injector: &Injector| injector.pressure() == 0;
    let mut steps = Vec::new();
    for injector in injectors {
        let resource = injector.resource();
        if resource == Resource::L3Cache {
            continue;
        }
        if lowest(injector) {
            steps.push(Step {
                what: What::InjectorAlone(resource),
                injectors: vec![(*injector, cpu)],
                lasts: WITHOUT_JOB,
            });
        }
        let high = Injector::new(resource, Level::High);
        if let (Kind::Parallel, Ok(high)) = (resource.kind(), high) {
            steps.push(Step {
                what: What::AmongInjectors(*injector),
                injectors: vec![(high, cpu), (*injector, sibling)],
                lasts: WITHOUT_JOB,
            });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Injector> {
        let of = |resource: Resource| {
            let levels = Level::of(resource).iter();
            levels.map(move |level| Injector::new(resource, *level).unwrap())
        };
        Resource::ALL.into_iter().flat_map(of).collect()
    }

    #[test]
    fn a_job_is_measured_alone_and_beside_each_injector_of_each_level() {
        let seats = Seats {
            workload: [0].into(),
            siblings: [4].into(),
            others: [1, 2].into(),
        };
        let second = Duration::from_secs(1);
        let steps = steps(&all(), &seats, second);
        let beside = steps.iter().filter(|step| step.what != What::Alone);
        // Two ports, four queues at three levels, three caches at two, and the last cache.
        assert_eq!((steps.len(), beside.count()), (6 + 21, 21));
        for step in &steps {
            assert_eq!(step.lasts, second);
            let cpus: Vec<u32> = step.injectors.iter().map(|(_, cpu)| *cpu).collect();
            match step.what {
                What::Alone => assert!(cpus.is_empty()),
                What::Beside(one) if one.resource() == Resource::L3Cache => {
                    assert_eq!(cpus, [1, 2]);
                }
                _ => assert_eq!(cpus, [4]),
            }
        }
    }

    #[test]
    fn injectors_are_measured_alone_and_those_of_caches_beside_each_other() {
        let steps = baselines(&all(), [3, 7]);
        let alone = steps
            .iter()
            .filter(|step| matches!(step.what, What::InjectorAlone(_)));
        assert_eq!((alone.count(), steps.len()), (9, 9 + 6));
        assert!(steps.iter().all(|step| step.injectors[0].1 == 3));
    }
}
