//! Outcomes while a trial is on: the BPF programs, attached for that time alone, the canary and the counters, and a reading each
//! second. The daemon and the schedulers that it starts are left out. What the machine does not measure is not known.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::time::Duration;

use auto_ext_profiler::{
    AttachError, Canary, Counted, CpuTime, Energy, EventCounter, LeftOut, LongestWait, Outcomes,
    OutcomesLoader,
};
use auto_ext_signals::{OutcomeTotals, Sample};
use auto_ext_trials::Reading;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_secs(1);

/// A measurement on its way.
pub(super) struct Measuring {
    meters: Meters,
    due: Interval,
    /// What the last reading was made of.
    before: Option<Stalls>,
}

enum Meters {
    /// Reading the kernel's types takes too long for the daemon to wait for it.
    Coming(JoinHandle<Result<Attached, AttachError>>),
    Attached(Box<Attached>),
}

/// All that measures; without outcomes there is nothing to tell.
struct Attached {
    outcomes: Outcomes,
    longest_wait: Option<LongestWait>,
    canary: Option<Canary>,
    instructions: Option<EventCounter>,
    energy: Option<Energy>,
}

/// For how long somebody waited until a moment, in microseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
struct Stalls {
    at: u64,
    memory: Option<u64>,
    io: Option<u64>,
}

impl Measuring {
    /// Begins to attach the programs. To be called in a tokio runtime.
    pub(super) fn begin() -> Self {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            meters: Meters::Coming(spawn_blocking(Attached::begin)),
            due,
            before: None,
        }
    }

    /// Waits until the next reading is due. Can be dropped and called again.
    ///
    /// # Errors
    /// When the programs cannot be attached.
    async fn due(&mut self) -> Result<(), AttachError> {
        if let Meters::Coming(coming) = &mut self.meters {
            let attached = coming
                .await
                .expect("who attaches neither panics nor is aborted");
            self.meters = Meters::Attached(Box::new(attached?));
        }
        self.due.tick().await;
        Ok(())
    }

    /// What was counted until now, with a `sample` of now and the cgroup of the service; `None` when it cannot be read.
    pub(super) fn read(&mut self, sample: &Sample, service: Option<&Path>) -> Option<Reading> {
        let Meters::Attached(attached) = &mut self.meters else {
            return None;
        };
        let own = service.map_or(Some(0), user_time);
        let now = Stalls {
            at: sample.at_ns / 1000,
            memory: sample.kernel.psi_memory_us,
            io: sample.kernel.psi_io_us,
        };
        let before = self.before.replace(now);
        let programs = CpuTime::read("/proc".as_ref()).and_then(|time| nanoseconds(time.user));
        let reading = reading(attached.outcomes.read()?, sample);
        Some(Reading {
            canary: attached.canary.as_ref().map(Canary::read),
            instructions: attached.instructions.as_ref().and_then(EventCounter::read),
            energy_uj: attached.energy.as_mut().and_then(Energy::read),
            longest_wait: attached.longest_wait.as_mut().and_then(LongestWait::look),
            user_ns: programs.zip(own).map(|(all, own)| all.saturating_sub(own)),
            memory_pressure: before.and_then(|before| now.share(&before, |of| of.memory)),
            io_pressure: before.and_then(|before| now.share(&before, |of| of.io)),
            ..reading
        })
    }

    /// Detaches the programs, which takes as long as all CPUs need to leave them: not waited for.
    pub(super) fn end(self) -> JoinHandle<()> {
        spawn_blocking(move || drop(self.meters))
    }
}

impl Attached {
    fn begin() -> Result<Self, AttachError> {
        let loader = OutcomesLoader::new()?;
        Ok(Self {
            outcomes: loader.attach(LeftOut::OwnChildren)?,
            longest_wait: known("the longest wait", loader.longest_wait()),
            canary: known("the canary", Canary::start()),
            instructions: known(
                "instructions",
                EventCounter::open(Counted::UserInstructions),
            ),
            energy: known("energy", Energy::begin(Path::new("/"))),
        })
    }
}

/// What the machine measures of `what`, or nothing.
fn known<T, E: Display>(what: &str, tried: Result<T, E>) -> Option<T> {
    tried
        .inspect_err(|error| tracing::debug!("{what}: not measured in trials: {error}"))
        .ok()
}

/// Waits until a reading is due; for ever where nothing is measured. Can be dropped and called again.
pub(super) async fn due(measuring: &mut Option<Measuring>) -> Result<(), AttachError> {
    match measuring {
        Some(measuring) => measuring.due().await,
        None => std::future::pending().await,
    }
}

impl Stalls {
    /// The share of the time since `before` in which somebody waited.
    fn share(&self, before: &Self, of: fn(&Self) -> Option<u64>) -> Option<f64> {
        let time = self.at.checked_sub(before.at).filter(|time| *time > 0)?;
        let stalled = of(self)?.saturating_sub(of(before)?);
        Some((stalled as f64 / time as f64).min(1.0))
    }
}

/// What the profiler counts anyway: what was completed.
fn reading(waits: OutcomeTotals, sample: &Sample) -> Reading {
    Reading {
        waits,
        completions: sample.completions(),
        ..Reading::default()
    }
}

/// What CPUs did since boot never is less than nothing, nor more than centuries.
fn nanoseconds(seconds: f64) -> Option<u64> {
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(time.as_nanos()).ok()
}

/// The CPU time that the programs in a cgroup had outside the kernel, in nanoseconds.
fn user_time(cgroup: &Path) -> Option<u64> {
    let stat = fs::read_to_string(cgroup.join("cpu.stat")).ok()?;
    let user = stat
        .lines()
        .find_map(|line| line.strip_prefix("user_usec "))?;
    user.trim().parse::<u64>().ok()?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use auto_ext_signals::BlockTotals;

    use super::*;

    #[test]
    fn completions_are_requests_and_packets_and_unknown_where_one_of_them_is() {
        let mut sample = Sample::default();
        let completions = |sample: &Sample| reading(OutcomeTotals::default(), sample).completions;
        assert_eq!(completions(&sample), None);
        sample.kernel.net_packets = Some(7);
        assert_eq!(completions(&sample), None);
        sample.block = Some(BlockTotals {
            requests: 5,
            ..BlockTotals::default()
        });
        assert_eq!(completions(&sample), Some(12));
    }

    #[test]
    fn stalls_are_a_share_of_the_time_between_two_readings() {
        let stalls = |at, memory| Stalls {
            at,
            memory,
            io: None,
        };
        let share = |before: Stalls, now: Stalls| now.share(&before, |of| of.memory);
        let share = share(
            stalls(1_000_000, Some(10)),
            stalls(2_000_000, Some(250_010)),
        );
        assert_eq!(share, Some(0.25));
        let none = stalls(2_000_000, None).share(&stalls(1_000_000, Some(1)), |of| of.memory);
        assert_eq!(none, None);
        let at_once = stalls(7, Some(1)).share(&stalls(7, Some(1)), |of| of.memory);
        assert_eq!(at_once, None);
    }

    #[test]
    fn the_own_time_is_that_outside_the_kernel() {
        let cgroup = tempfile::tempdir().unwrap();
        assert_eq!(user_time(cgroup.path()), None);
        let stat = "usage_usec 900\nuser_usec 600\nsystem_usec 300\n";
        fs::write(cgroup.path().join("cpu.stat"), stat).unwrap();
        assert_eq!(user_time(cgroup.path()), Some(600_000));
        assert_eq!(nanoseconds(1.25), Some(1_250_000_000));
        assert_eq!((nanoseconds(-1.0), nanoseconds(1e300)), (None, None));
    }
}
