//! A canary: one thread that wants the same of every scheduler, so that what it gets tells them apart whatever the load does.
//!
//! It is woken at times by chance (a Poisson process, on average every 20 ms), as such times keep to nobody's rhythm, and works for 200 us:
//! about a hundredth of a CPU, while there is one. The times do not depend on when it had its CPU (an open loop), so that who
//! lets it wait is not asked less often. A wait is from the time that it had asked for until it runs: with the timer, the interrupt and the
//! way out of a CPU's sleep in it, which are the same under every scheduler.

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use auto_ext_profiler_abi::OutcomeCounters;
use auto_ext_signals::OutcomeTotals;
use nix::sys::prctl::set_timerslack;
use nix::time::{ClockId, clock_gettime};

use crate::clock::monotonic_ns;
use crate::outcomes::totals;

/// The mean time between two wake-ups, and how long it works after each, in nanoseconds.
const MEAN_NS: f64 = 20e6;
const WORK_NS: u64 = 200_000;
/// How many steps of work are between two looks at the clock: a few microseconds.
const STEPS: u32 = 1000;

/// The thread; it ends when this is dropped, without further work. Nobody waits for that: it may be kept from its CPU.
pub struct Canary {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    counters: Mutex<OutcomeCounters>,
}

impl Canary {
    /// Starts it, with the priority of the caller.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let thread = thread::Builder::new().name("auto-ext-canary".to_owned());
        let thread = thread.spawn(move || sing(&its, &mut fastrand::Rng::new()))?;
        Ok(Self { shared, thread })
    }

    /// The totals of its waits and its work since it was started.
    #[must_use]
    pub fn read(&self) -> OutcomeTotals {
        let counters = *self.shared.counters();
        totals(monotonic_ns(), std::iter::once(&counters))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}

impl Shared {
    fn counters(&self) -> MutexGuard<'_, OutcomeCounters> {
        // Whoever panicked left counters.
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sing(shared: &Shared, chance: &mut fastrand::Rng) {
    // Else the kernel may wake it 50 us late. Without, waits are longer under every scheduler.
    let _ = set_timerslack(1);
    let mut due = monotonic_ns();
    loop {
        due += pause_ns(chance);
        let Some(wakes) = wait_until(due, &shared.ends) else {
            return;
        };
        let worked_ns = work();
        let awake_ns = monotonic_ns().saturating_sub(due);
        let mut counters = shared.counters();
        counters.waited(wakes - due);
        counters.slept(worked_ns, awake_ns);
    }
}

/// A time between two events of a Poisson process.
#[expect(
    clippy::cast_possible_truncation,
    reason = "from 0 to less than 38 times the mean"
)]
fn pause_ns(chance: &mut fastrand::Rng) -> u64 {
    // The number is at least 0 and less than 1, and there is no logarithm of 0.
    (-(1.0 - chance.f64()).ln() * MEAN_NS) as u64
}

/// When it is `due`, or later; `None` when it ends before.
fn wait_until(due: u64, ends: &AtomicBool) -> Option<u64> {
    loop {
        let now = monotonic_ns();
        if ends.load(Ordering::Relaxed) {
            return None;
        }
        if now >= due {
            return Some(now);
        }
        thread::park_timeout(Duration::from_nanos(due - now));
    }
}

/// Works for so much CPU time, and returns how much it was.
fn work() -> u64 {
    let began = cpu_time_ns();
    loop {
        (0..STEPS).for_each(|step| {
            black_box(step);
        });
        let worked = cpu_time_ns().saturating_sub(began);
        if worked >= WORK_NS {
            return worked;
        }
    }
}

/// The CPU time of the calling thread.
fn cpu_time_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(|time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
        .expect("every thread has this clock on every Linux and the argument is valid")
}

#[cfg(test)]
mod tests {
    use auto_ext_signals::Outcome;

    use super::*;

    #[test]
    fn the_pauses_are_those_of_a_poisson_process() {
        let mut chance = fastrand::Rng::with_seed(3);
        let pauses: Vec<f64> = (0..10_000)
            .map(|_| pause_ns(&mut chance) as f64 / MEAN_NS)
            .collect();
        let share =
            |longer: f64| pauses.iter().filter(|pause| **pause > longer).count() as f64 / 10_000.0;
        let mean = pauses.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        for longer in [0.1, 1.0, 2.0, 3.0] {
            let expected = f64::exp(-longer);
            assert!((share(longer) - expected).abs() < 0.015, "{longer}");
        }
    }

    fn threads() -> usize {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names =
            threads.filter_map(|it| std::fs::read_to_string(it.ok()?.path().join("comm")).ok());
        names
            .filter(|name| name.trim() == "auto-ext-canary")
            .count()
    }

    #[test]
    fn it_is_woken_and_works_until_it_is_dropped() {
        let canary = Canary::start().unwrap();
        let before = canary.read();
        let outcome = loop {
            thread::sleep(Duration::from_millis(50));
            let outcome = Outcome::between(&before, &canary.read()).unwrap();
            let time_s = (canary.read().at_ns - before.at_ns) as f64 / 1e9;
            if outcome.wakes_per_second * time_s >= 20.0 {
                break outcome;
            }
        };
        assert_eq!(threads(), 1);
        let after = canary.read();
        let wakes: u64 = after.waits.iter().map(|bucket| bucket.count).sum();
        assert!(after.burst_ns >= wakes * WORK_NS, "{after:?}");
        let waits = outcome.waits.unwrap();
        assert!(
            waits.mean_ns > 0.0 && waits.p99_ns >= waits.p50_ns,
            "{waits:?}"
        );
        assert!(outcome.stretch.unwrap() >= 1.0);
        drop(canary);
        while threads() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
