//! Does one step after the other by a [`Lab`], looks each second whether the job is harmed, and gathers what is measured. Pure but
//! for what the lab does.

use std::time::Duration;

use crate::counters::{Metric, NoSpeed, Reading, speed};
use crate::injector::Injector;
use crate::model::original::Measurements;

use super::harm::{Harm, TooMuch, part};
use super::steps::{Step, What};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// By so much the hardware threads beside a job that is alone may be busy.
const BUSY: f64 = 0.05;
/// So many times it has to have been alone; of the last of these it is the median.
const LEAST_ALONE: usize = 3;
/// The number of the job in what is measured.
pub const JOB: i64 = 0;

/// What is seen at a moment. What only grows is counted since the step began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// When, since the lab was opened.
    pub at: Duration,
    /// The job; nothing where there is none.
    pub workload: Option<Reading>,
    /// Each injector.
    pub injectors: Vec<Reading>,
    /// For how long some of the job's cgroup has waited for a CPU.
    pub pressure: Option<Duration>,
    /// How long the job waited since the last look, in parts of the time in which it ran.
    pub delay: Option<f64>,
    /// How busy the busiest hardware thread beside the job was since the last look.
    pub beside: Option<f64>,
    /// A CPU on which the job ran since the last look, and that is not its.
    pub elsewhere: Option<u32>,
}

/// Where it is measured.
pub trait Lab {
    /// Has these injectors run on these CPUs, and waits until they do.
    ///
    /// # Errors
    /// When one does not.
    fn begin(&mut self, injectors: &[(Injector, u32)]) -> Result<(), String>;

    /// Ends the injectors.
    fn end(&mut self);

    /// Lets time pass.
    fn wait(&mut self, time: Duration);

    /// Looks.
    ///
    /// # Errors
    /// When nothing can be seen any more.
    fn look(&mut self) -> Result<Look, String>;
}

/// How long it may take in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub Duration);

/// Why it ended before its end.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// The job is harmed.
    #[error("stopped beside {beside}: {why}")]
    Harmed {
        /// By whom.
        beside: String,
        /// How.
        why: TooMuch,
    },
    /// The job ran elsewhere.
    #[error("stopped: it left its CPUs for CPU {0}")]
    Left(u32),
    /// It would take longer than it may.
    #[error("stopped: it would take longer than {} s", .0.as_secs())]
    Budget(Duration),
    /// Somebody ran on the other hardware threads while the job was to be alone.
    #[error("stopped: somebody else runs on the other hardware threads of its cores")]
    NotAlone,
    /// What was counted cannot tell how fast somebody was.
    #[error("stopped: {who} was not counted: {why}")]
    NoSpeed {
        /// Who.
        who: String,
        /// Why not.
        why: NoSpeed,
    },
    /// The lab failed.
    #[error("stopped: {0}")]
    Lab(String),
}

/// Does all steps, adds to `measured` what comes of them, and says each with `say` before it begins. However it ends, no injector
/// runs any more.
///
/// # Errors
/// When it ends before its end; what was measured by then does not suffice.
pub fn run(
    lab: &mut dyn Lab,
    steps: &[Step],
    budget: Budget,
    measured: &mut Measurements,
    say: &mut dyn FnMut(&str),
) -> Result<(), Stop> {
    let mut course = Course {
        lab,
        budget,
        harm: Harm::default(),
        alone: Vec::new(),
    };
    let mut all = || {
        for step in steps {
            say(&sentence(step.what));
            course.step(step, measured)?;
        }
        Ok(())
    };
    let ended = all();
    course.lab.end();
    ended?;
    if let Some(solo) = course.solo(steps)? {
        measured.add_alone(JOB, solo);
    }
    Ok(())
}

struct Course<'l> {
    lab: &'l mut dyn Lab,
    budget: Budget,
    harm: Harm,
    /// The instructions per cycle of the job each time that it was alone.
    alone: Vec<f64>,
}

impl Course<'_> {
    fn step(&mut self, step: &Step, measured: &mut Measurements) -> Result<(), Stop> {
        if matches!(step.what, What::Beside(_)) && self.alone.len() < LEAST_ALONE {
            return Err(Stop::NotAlone);
        }
        self.lab.begin(&step.injectors).map_err(Stop::Lab)?;
        let first = self.lab.look().map_err(Stop::Lab)?;
        if first.at + step.lasts > self.budget.0 {
            return Err(Stop::Budget(self.budget.0));
        }
        let mut last = first.clone();
        let mut is_alone = true;
        while last.at < first.at + step.lasts {
            self.lab.wait(LOOK);
            let now = self.lab.look().map_err(Stop::Lab)?;
            self.judge(step.what, &last, &now)?;
            is_alone &= now.beside.is_none_or(|beside| beside <= BUSY);
            last = now;
        }
        self.lab.end();
        let workload = || -> Result<f64, Stop> {
            let (Some(first), Some(last)) = (first.workload, last.workload) else {
                return Err(Stop::Lab("there is no job".to_owned()));
            };
            ipc("the job", &first, &last)
        };
        let injector = || -> Result<f64, Stop> {
            let both = first.injectors.iter().zip(&last.injectors);
            let fast = both.map(|(first, last)| ipc("an injector", first, last));
            let fast: Vec<f64> = fast.collect::<Result<_, _>>()?;
            Ok(fast.iter().sum::<f64>() / fast.len().max(1) as f64)
        };
        match step.what {
            What::Alone if is_alone => self.alone.push(workload()?),
            What::Alone => {}
            What::Beside(one) => {
                let (resource, pressure) = (one.resource(), one.pressure());
                measured.add(JOB, resource, pressure, workload()?, injector()?);
            }
            What::InjectorAlone(resource) => measured.add_injector(resource, None, injector()?),
            What::AmongInjectors(beside) => {
                // The first is the one at the highest level.
                let (Some(before), Some(now)) = (first.injectors.first(), last.injectors.first())
                else {
                    return Err(Stop::Lab("there is no injector".to_owned()));
                };
                let ipc = ipc("an injector", before, now)?;
                measured.add_injector(beside.resource(), Some(beside.pressure()), ipc);
            }
        }
        Ok(())
    }

    /// Whether it may go on.
    fn judge(&mut self, what: What, before: &Look, now: &Look) -> Result<(), Stop> {
        if let Some(cpu) = now.elsewhere {
            return Err(Stop::Left(cpu));
        }
        let pressure = match (before.pressure, now.pressure) {
            (Some(before), Some(now)) => Some(now.saturating_sub(before)),
            _ => None,
        };
        let pressure = part(pressure, now.at.saturating_sub(before.at));
        match what {
            What::Alone => {
                self.harm.add(pressure, now.delay);
                Ok(())
            }
            What::Beside(injector) => {
                let judged = self.harm.judge(pressure, now.delay);
                judged.map_err(|why| Stop::Harmed {
                    beside: injector.to_string(),
                    why,
                })
            }
            What::InjectorAlone(_) | What::AmongInjectors(_) => Ok(()),
        }
    }

    /// How fast the job is alone; nothing where that was not asked.
    fn solo(&self, steps: &[Step]) -> Result<Option<f64>, Stop> {
        if !steps.iter().any(|step| step.what == What::Alone) {
            return Ok(None);
        }
        let skipped = self.alone.len().checked_sub(LEAST_ALONE);
        let mut last = self.alone[skipped.ok_or(Stop::NotAlone)?..].to_vec();
        last.sort_by(f64::total_cmp);
        Ok(last.get(LEAST_ALONE / 2).copied())
    }
}

fn ipc(who: &str, first: &Reading, last: &Reading) -> Result<f64, Stop> {
    speed(Metric::Ipc, first, last).map_err(|why| Stop::NoSpeed {
        who: who.to_owned(),
        why,
    })
}

fn sentence(what: What) -> String {
    match what {
        What::Alone => "alone".to_owned(),
        What::Beside(injector) => format!("beside {injector}"),
        What::InjectorAlone(resource) => format!("the injector of {} alone", resource.name()),
        What::AmongInjectors(injector) => format!("an injector beside {injector}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injector::Level;
    use crate::model::Resource;
    use crate::profile::{Seats, baselines, steps};

    /// A job that loses a tenth beside any injector at low pressure and a third at high, as injectors do beside it.
    #[derive(Default)]
    struct Pretended {
        at: Duration,
        running: Vec<(Injector, u32)>,
        workload: Reading,
        injectors: Vec<Reading>,
        harmed_by: Option<Resource>,
        leaves: bool,
        crowded: bool,
    }

    impl Lab for Pretended {
        fn begin(&mut self, injectors: &[(Injector, u32)]) -> Result<(), String> {
            assert!(self.running.is_empty());
            self.running = injectors.to_vec();
            self.injectors = vec![Reading::default(); injectors.len()];
            Ok(())
        }

        fn end(&mut self) {
            self.running.clear();
        }

        fn wait(&mut self, time: Duration) {
            self.at += time;
            let levels = self.running.iter().map(|(one, _)| one.level());
            let permille = match (levels.clone().max(), levels.min()) {
                (None, _) => 1000,
                (Some(Level::Low), _) => 900,
                (Some(_), Some(Level::Low)) => 700,
                (Some(_), _) if self.running.len() > 1 => 500,
                (Some(_), _) => 670,
            };
            let add = |reading: &mut Reading, permille: u64| {
                reading.cycles += 1_000_000_000;
                reading.instructions += permille * 1_000_000;
                reading.enabled += 1_000_000_000;
                reading.running += 1_000_000_000;
            };
            add(&mut self.workload, permille);
            for injector in &mut self.injectors {
                add(injector, permille);
            }
        }

        fn look(&mut self) -> Result<Look, String> {
            let is_harmed = |(one, _): &(Injector, u32)| Some(one.resource()) == self.harmed_by;
            let harm = self.running.iter().any(is_harmed);
            Ok(Look {
                at: self.at,
                workload: Some(self.workload),
                injectors: self.injectors.clone(),
                pressure: None,
                delay: Some(if harm { 0.3 } else { 0.01 }),
                beside: Some(if self.crowded { 0.5 } else { 0.0 }),
                elsewhere: (self.leaves && !self.running.is_empty()).then_some(9),
            })
        }
    }

    fn injectors() -> Vec<Injector> {
        let resources = [Resource::IntPort, Resource::L1Dcache, Resource::L3Cache];
        let of = |resource: Resource| {
            let levels = Level::of(resource).iter();
            levels.map(move |level| Injector::new(resource, *level).unwrap())
        };
        resources.into_iter().flat_map(of).collect()
    }

    fn profile(lab: &mut Pretended, budget: u64) -> Result<Measurements, Stop> {
        let seats = Seats {
            workload: [0].into(),
            siblings: [2].into(),
            others: [1].into(),
        };
        let mut measured = Measurements::default();
        let budget = Budget(Duration::from_secs(budget));
        let all = baselines(&injectors(), [1, 3]);
        run(lab, &all, budget, &mut measured, &mut |_| {})?;
        let all = steps(&injectors(), &seats, Duration::from_secs(10));
        let ended = run(lab, &all, budget, &mut measured, &mut |_| {});
        assert!(lab.running.is_empty(), "an injector is left");
        ended.map(|()| measured)
    }

    #[test]
    fn a_job_that_is_profiled_to_the_end_has_its_characteristics() {
        let mut lab = Pretended::default();
        let measured = profile(&mut lab, 300).unwrap();
        // 4 baselines of 2 s, 6 times alone, and 4 injectors.
        assert_eq!(lab.at, Duration::from_secs(4 * 2 + 60 + 40));
        let resources = measured.resources();
        assert_eq!(resources, [Resource::IntPort, Resource::L1Dcache]);
        let job = measured.job(JOB, None, &resources).unwrap();
        assert!((job.solo - 1.0).abs() < 1e-9);
        assert!((job.scale - 0.9).abs() < 1e-9);
        let cache = job.characteristics[&Resource::L1Dcache];
        assert!((cache.base_slowdown - 0.1).abs() < 1e-9, "{cache:?}");
        assert!((cache.sensitivity - (1.0 - 0.67 / 0.9)).abs() < 1e-9);
    }

    #[test]
    fn it_ends_at_once_when_the_job_is_harmed_or_leaves_its_cpus() {
        let mut lab = Pretended {
            harmed_by: Some(Resource::L1Dcache),
            ..Pretended::default()
        };
        let stop = profile(&mut lab, 300).unwrap_err();
        let expected = "stopped beside l1_dcache low: it waits for 30 % of the time that it runs";
        assert_eq!(stop.to_string(), expected);
        // The first second of it.
        assert_eq!(lab.at, Duration::from_secs(8 + 60 + 10 + 1));
        let mut lab = Pretended {
            leaves: true,
            ..Pretended::default()
        };
        assert_eq!(profile(&mut lab, 300), Err(Stop::Left(9)));
    }

    #[test]
    fn it_ends_before_the_budget_is_spent_and_where_the_job_is_never_alone() {
        let mut lab = Pretended::default();
        let stop = profile(&mut lab, 75).unwrap_err();
        assert_eq!(stop, Stop::Budget(Duration::from_secs(75)));
        assert!(lab.at <= Duration::from_secs(75));
        let mut lab = Pretended {
            crowded: true,
            ..Pretended::default()
        };
        assert_eq!(profile(&mut lab, 300), Err(Stop::NotAlone));
        assert_eq!(
            lab.at,
            Duration::from_secs(8 + 60),
            "it was not slowed down"
        );
    }

    impl PartialEq for Measurements {
        fn eq(&self, other: &Self) -> bool {
            self.resources() == other.resources()
        }
    }
}
