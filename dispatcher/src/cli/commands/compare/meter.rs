//! What is measured of the machine while a turn lasts: what its scheduler makes of tasks that sleep and of a canary, what its CPUs do
//! and what they take. Whatever measures is there for that time alone.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use auto_ext_profiler::{
    AttachError, Canary, Completions, CountError, Counted, CpuTime, Energy, EnergyError,
    EventCounter, LeftOut, LongestWait, Outcomes, OutcomesLoader,
};
use auto_ext_service::exit_code::Code;
use auto_ext_signals::{Outcome, OutcomeTotals};

use super::looks::Looks;

/// What measures, as far as it can be measured here.
#[derive(Default)]
pub(super) struct Meter {
    loader: Option<OutcomesLoader>,
    has_longest_wait: bool,
    counts_migrations: bool,
    counts_instructions: bool,
    has_energy: bool,
    /// Attached all the time, as it costs nothing but with each request, of which there are few.
    completions: Option<Rc<Completions>>,
}

/// Why something is not measured.
#[derive(Default)]
pub(super) struct Missing {
    /// How long tasks wait, and so for how long one has waited by now.
    pub(super) waits: Option<AttachError>,
    pub(super) longest_wait: Option<WhyNot>,
    pub(super) migrations: Option<WhyNot>,
    pub(super) instructions: Option<WhyNot>,
    pub(super) completions: Option<WhyNot>,
    pub(super) energy: Option<WhyNot>,
}

/// What was measured of the machine; nothing of what could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Machine {
    pub(super) outcome: Option<Outcome>,
    /// The same of the canary alone.
    pub(super) canary: Option<Outcome>,
    /// The longest that somebody had waited for when that was looked at, in seconds.
    pub(super) longest_wait: Option<f64>,
    /// How many times a second a task came to another CPU.
    pub(super) migrations: Option<f64>,
    /// How many CPUs were in programs, on average.
    pub(super) user: Option<f64>,
    /// How many were in the kernel.
    pub(super) system: Option<f64>,
    /// Instructions of programs a second.
    pub(super) instructions: Option<f64>,
    /// Requests of disks and packets a second.
    pub(super) completions: Option<f64>,
    /// What the processors took, in joules.
    pub(super) energy: Option<f64>,
}

/// A measurement on its way.
pub(super) struct Measuring {
    outcomes: Option<Outcomes>,
    canary: Option<Canary>,
    migrations: Option<EventCounter>,
    instructions: Option<EventCounter>,
    completions: Option<Rc<Completions>>,
    looks: Option<Looks>,
    began: Reading,
}

/// Totals at a moment.
pub(super) struct Reading {
    at: Instant,
    outcomes: Option<OutcomeTotals>,
    canary: Option<OutcomeTotals>,
    cpus: Option<CpuTime>,
    migrations: Option<u64>,
    instructions: Option<u64>,
    completions: Option<u64>,
    energy_uj: Option<u64>,
}

impl Meter {
    /// Tries what can be measured, and says why not what cannot.
    pub(super) fn new() -> (Self, Missing) {
        let mut missing = Missing::default();
        let tried = OutcomesLoader::new().and_then(|loader| {
            loader.attach(LeftOut::Process(None))?;
            Ok(loader)
        });
        let loader = match tried {
            Ok(loader) => {
                let tried = loader.longest_wait();
                missing.longest_wait =
                    WhyNot::of(tried, |error| matches!(error, AttachError::NotPermitted));
                Some(loader)
            }
            Err(error) => {
                missing.waits = Some(error);
                None
            }
        };
        let completions = match Completions::attach() {
            Ok(completions) => Some(Rc::new(completions)),
            Err(error) => {
                let is_refused = |error: &_| matches!(error, AttachError::NotPermitted);
                missing.completions = WhyNot::of(Err::<(), _>(error), is_refused);
                None
            }
        };
        missing.migrations = WhyNot::of_counter(Counted::Migrations);
        missing.instructions = WhyNot::of_counter(Counted::UserInstructions);
        missing.energy = WhyNot::of(Energy::begin(Path::new("/")), |error| {
            matches!(error, EnergyError::NotPermitted)
        });
        let meter = Self {
            has_longest_wait: loader.is_some() && missing.longest_wait.is_none(),
            loader,
            counts_migrations: missing.migrations.is_none(),
            counts_instructions: missing.instructions.is_none(),
            has_energy: missing.energy.is_none(),
            completions,
        };
        (meter, missing)
    }

    /// Begins to measure. The process of the scheduler, which schedules those that outcomes are about, does not count, nor does this
    /// one with the canary in it.
    pub(super) fn begin(&self, scheduler: Option<u32>) -> Measuring {
        let loader = self.loader.as_ref();
        let counter = |counts: bool, counted| counts.then(|| EventCounter::open(counted).ok());
        let longest_wait = loader.filter(|_| self.has_longest_wait);
        let longest_wait: Option<LongestWait> = longest_wait.and_then(|it| it.longest_wait().ok());
        let energy = self.has_energy.then(|| Energy::begin(Path::new("/")).ok());
        let mut measuring = Measuring {
            looks: Looks::begin(longest_wait, energy.flatten()),
            migrations: counter(self.counts_migrations, Counted::Migrations).flatten(),
            instructions: counter(self.counts_instructions, Counted::UserInstructions).flatten(),
            completions: self.completions.clone(),
            canary: Canary::start().ok(),
            outcomes: loader.and_then(|it| it.attach(LeftOut::Process(scheduler)).ok()),
            began: Reading::empty(),
        };
        measuring.began = measuring.read();
        measuring
    }
}

impl Missing {
    /// What is not measured beside the waits, in a line; nothing where all of it is.
    pub(super) fn others(&self) -> Option<String> {
        let all = [
            ("the longest wait", &self.longest_wait),
            ("migrations", &self.migrations),
            ("instructions", &self.instructions),
            ("completions", &self.completions),
            ("energy", &self.energy),
        ];
        let missing = all
            .into_iter()
            .filter_map(|(what, why)| Some(format!("{what} ({})", why.as_ref()?.text)));
        let missing: Vec<String> = missing.collect();
        (!missing.is_empty()).then(|| format!("not measured here: {}", missing.join(", ")))
    }
}

/// What keeps something from being measured, with the exit code of it.
#[derive(Debug)]
pub(super) struct WhyNot {
    pub(super) text: String,
    pub(super) code: Code,
}

impl WhyNot {
    fn of<T, E: ToString>(tried: Result<T, E>, is_refused: fn(&E) -> bool) -> Option<Self> {
        let error = tried.err()?;
        Some(Self {
            text: error.to_string(),
            code: if is_refused(&error) {
                Code::NotPermitted
            } else {
                Code::Failed
            },
        })
    }

    fn of_counter(counted: Counted) -> Option<Self> {
        let tried = EventCounter::open(counted);
        Self::of(tried, |error| matches!(error, CountError::NotPermitted))
    }
}

impl Measuring {
    /// The totals now.
    pub(super) fn read(&self) -> Reading {
        Reading {
            outcomes: self.outcomes.as_ref().and_then(Outcomes::read),
            canary: self.canary.as_ref().map(Canary::read),
            cpus: CpuTime::read(Path::new("/proc")),
            migrations: self.migrations.as_ref().and_then(EventCounter::read),
            instructions: self.instructions.as_ref().and_then(EventCounter::read),
            completions: self.completions.as_ref().and_then(|it| it.read()),
            energy_uj: self.looks.as_ref().and_then(Looks::energy_uj),
            at: Instant::now(),
        }
    }

    /// What was measured until now.
    pub(super) fn end(self) -> Machine {
        self.until(&self.read())
    }

    /// The same, and what was measured until this reading and from there on.
    pub(super) fn end_in_halves(self, half: &Reading) -> (Machine, [Machine; 2]) {
        let end = self.read();
        let halves = [
            Machine::between(&self.began, half),
            Machine::between(half, &end),
        ];
        (self.until(&end), halves)
    }

    fn until(&self, end: &Reading) -> Machine {
        let longest = self.looks.as_ref().and_then(Looks::longest_wait);
        Machine {
            longest_wait: longest.map(|longest| longest.as_secs_f64()),
            ..Machine::between(&self.began, end)
        }
    }
}

impl Reading {
    fn empty() -> Self {
        Self {
            at: Instant::now(),
            outcomes: None,
            canary: None,
            cpus: None,
            migrations: None,
            instructions: None,
            completions: None,
            energy_uj: None,
        }
    }
}

impl Machine {
    fn between(before: &Reading, after: &Reading) -> Self {
        let seconds = (after.at - before.at).as_secs_f64();
        let a_second = |amount: f64| (seconds > 0.0).then(|| amount / seconds);
        let outcome =
            |of: fn(&Reading) -> Option<&OutcomeTotals>| Outcome::between(of(before)?, of(after)?);
        let in_use = |of: fn(&CpuTime) -> f64| {
            let (before, after) = (before.cpus.as_ref()?, after.cpus.as_ref()?);
            // Counters of CPUs that left may go back.
            a_second((of(after) - of(before)).max(0.0))
        };
        let grown =
            |of: fn(&Reading) -> Option<u64>| Some(of(after)?.saturating_sub(of(before)?) as f64);
        Self {
            outcome: outcome(|reading| reading.outcomes.as_ref()),
            canary: outcome(|reading| reading.canary.as_ref()),
            longest_wait: None,
            migrations: grown(|reading| reading.migrations).and_then(a_second),
            user: in_use(|cpus| cpus.user),
            system: in_use(|cpus| cpus.system),
            instructions: grown(|reading| reading.instructions).and_then(a_second),
            completions: grown(|reading| reading.completions).and_then(a_second),
            energy: grown(|reading| reading.energy_uj).map(|uj| uj / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_machine_is_measured_by_anybody() {
        let measuring = Meter::default().begin(None);
        let half = loop {
            sleep(Duration::from_millis(20));
            let half = measuring.read();
            let canary = Machine::between(&measuring.began, &half).canary;
            if canary.is_some_and(|canary| canary.waits.is_some()) {
                break half;
            }
        };
        sleep(Duration::from_millis(20));
        let (machine, [first, second]) = measuring.end_in_halves(&half);
        assert_eq!((machine.outcome, machine.longest_wait), (None, None));
        assert_eq!((machine.instructions, machine.energy), (None, None));
        for machine in [machine, first, second] {
            for in_use in [machine.user, machine.system] {
                assert!(in_use.is_some_and(|cpus| cpus >= 0.0), "{machine:?}");
            }
        }
        assert!(machine.canary.unwrap().waits.is_some(), "{machine:?}");
    }

    #[test]
    fn rates_are_of_the_time_between_two_readings() {
        let before = Reading {
            migrations: Some(100),
            instructions: Some(5),
            completions: Some(10),
            energy_uj: Some(1_000_000),
            ..Reading::empty()
        };
        let after = Reading {
            at: before.at + Duration::from_secs(2),
            migrations: Some(700),
            instructions: Some(4_000_000_005),
            completions: Some(70),
            energy_uj: Some(31_000_000),
            ..Reading::empty()
        };
        let machine = Machine::between(&before, &after);
        assert_eq!(machine.migrations, Some(300.0));
        assert_eq!(machine.instructions, Some(2e9));
        assert_eq!(machine.completions, Some(30.0));
        assert_eq!(machine.energy, Some(30.0));
        // What only one of them has is not known.
        let none = Machine::between(&Reading::empty(), &after);
        assert_eq!(
            (none.migrations, none.energy, none.user),
            (None, None, None)
        );
    }

    #[test]
    fn what_is_not_measured_is_told_in_one_line() {
        assert_eq!(Missing::default().others(), None);
        let why = |text: &str| {
            Some(WhyNot {
                text: text.to_owned(),
                code: Code::Failed,
            })
        };
        let missing = Missing {
            instructions: why("no counter"),
            energy: why("nobody says"),
            ..Missing::default()
        };
        let said = "not measured here: instructions (no counter), energy (nobody says)";
        assert_eq!(missing.others().as_deref(), Some(said));
    }
}
