//! What is measured of the machine while a turn lasts: what its scheduler makes of tasks that sleep, and what its CPUs do.
//! The BPF programs for the first are attached for that time alone.

use std::path::Path;
use std::time::Instant;

use auto_ext_profiler::{AttachError, CpuTime, LeftOut, Outcomes, OutcomesLoader};
use auto_ext_signals::{Outcome, OutcomeTotals};

/// What measures.
pub(super) struct Meter {
    loader: Option<OutcomesLoader>,
}

/// What was measured of the machine; nothing of what could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Machine {
    pub(super) outcome: Option<Outcome>,
    /// How many CPUs were in programs, on average.
    pub(super) user: Option<f64>,
    /// How many were in the kernel.
    pub(super) system: Option<f64>,
}

/// A measurement on its way.
pub(super) struct Measuring {
    outcomes: Option<(Outcomes, OutcomeTotals)>,
    cpus: Option<CpuTime>,
    began: Instant,
}

impl Meter {
    /// Tries whether outcomes can be measured; else says why not, and goes on without them.
    pub(super) fn new() -> (Self, Option<AttachError>) {
        let tried = OutcomesLoader::new().and_then(|loader| {
            loader.attach(LeftOut::Process(None))?;
            Ok(loader)
        });
        match tried {
            Ok(loader) => (
                Self {
                    loader: Some(loader),
                },
                None,
            ),
            Err(error) => (Self::without_outcomes(), Some(error)),
        }
    }

    /// Measures the CPUs alone.
    pub(super) fn without_outcomes() -> Self {
        Self { loader: None }
    }

    /// Begins to measure. The process of the scheduler, which schedules those that outcomes are about, does not count.
    pub(super) fn begin(&self, scheduler: Option<u32>) -> Measuring {
        let outcomes = self.loader.as_ref().and_then(|loader| {
            let outcomes = loader.attach(LeftOut::Process(scheduler)).ok()?;
            let before = outcomes.read()?;
            Some((outcomes, before))
        });
        Measuring {
            outcomes,
            cpus: cpu_time(),
            began: Instant::now(),
        }
    }
}

impl Measuring {
    /// What was measured until now.
    pub(super) fn end(self) -> Machine {
        let seconds = self.began.elapsed().as_secs_f64();
        let cpus = self.cpus.zip(cpu_time());
        let in_use = |of: fn(&CpuTime) -> f64| {
            let (before, after) = cpus.as_ref()?;
            // Counters of CPUs that left may go back.
            (seconds > 0.0).then(|| (of(after) - of(before)).max(0.0) / seconds)
        };
        let outcome = self.outcomes.and_then(|(outcomes, before)| {
            let after = outcomes.read()?;
            Outcome::between(&before, &after)
        });
        Machine {
            outcome,
            user: in_use(|cpus| cpus.user),
            system: in_use(|cpus| cpus.system),
        }
    }
}

fn cpu_time() -> Option<CpuTime> {
    CpuTime::read(Path::new("/proc"))
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_machine_is_measured_by_anybody() {
        let measuring = Meter::without_outcomes().begin(None);
        sleep(Duration::from_millis(20));
        let machine = measuring.end();
        assert_eq!(machine.outcome, None);
        for in_use in [machine.user, machine.system] {
            assert!(in_use.is_some_and(|cpus| cpus >= 0.0), "{machine:?}");
        }
    }
}
