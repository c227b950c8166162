//! What all programs are made of: work measured in CPU time, beats, threads that wake each other.

use std::hint::black_box;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// How many CPUs there are for us.
pub(crate) fn cpus() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Computes until this thread has used so much CPU time: the same share of a CPU on any machine, and however long
/// it had to wait.
pub(crate) fn compute(time: Duration) {
    let end = now(ClockId::CLOCK_THREAD_CPUTIME_ID) + time;
    while now(ClockId::CLOCK_THREAD_CPUTIME_ID) < end {
        some_work();
    }
}

/// Computes without an end.
pub(crate) fn hog() -> ! {
    loop {
        some_work();
    }
}

/// A few microseconds of arithmetic; not the CPU's instruction for waiting, which says that this is no work.
fn some_work() {
    let mut number = 1_u64;
    for _ in 0..2000 {
        number = black_box(
            number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}

/// What a clock says, since its beginning.
fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock).expect("Linux has the clocks that are asked for here");
    time.into()
}

/// Moments at even distances.
pub(crate) struct Beat {
    period: Duration,
    next: Duration,
}

impl Beat {
    /// The first moment is one period from now.
    pub(crate) fn every(period: Duration) -> Self {
        let next = now(ClockId::CLOCK_MONOTONIC) + period;
        Self { period, next }
    }

    /// Sleeps until the next moment, and returns by how much it was missed. After one that has passed already, the distance
    /// counts from now: what is late does not catch up.
    pub(crate) fn wait(&mut self) -> Duration {
        let period = self.period;
        self.wait_and_then(period)
    }

    /// The same, with the distance to the moment after.
    pub(crate) fn wait_and_then(&mut self, period: Duration) -> Duration {
        let clock = ClockId::CLOCK_MONOTONIC;
        let (due, asked) = (self.next, now(clock));
        if due <= asked {
            self.next = asked + period;
            return asked - due;
        }
        let until = TimeSpec::from_duration(due);
        let absolute = ClockNanosleepFlags::TIMER_ABSTIME;
        while clock_nanosleep(clock, absolute, &until) == Err(Errno::EINTR) {}
        self.next = due + period;
        now(clock).saturating_sub(due)
    }
}

/// Wakes threads that wait for work.
#[derive(Default)]
pub(crate) struct Bell {
    jobs: Mutex<usize>,
    rung: Condvar,
}

impl Bell {
    /// There are so many jobs more, but never more than `most`: who is behind leaves some out.
    pub(crate) fn ring(&self, jobs: usize, most: usize) {
        let mut waiting = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = (*waiting + jobs).min(most);
        drop(waiting);
        if jobs == 1 {
            self.rung.notify_one();
        } else {
            self.rung.notify_all();
        }
    }

    /// Waits for a job.
    pub(crate) fn wait(&self) {
        let waiting = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.rung.wait_while(waiting, |jobs| *jobs == 0);
        *waiting.unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

/// Starts a thread that has no end. That of one ends the program, as a load without it is another one.
pub(crate) fn start(
    name: &str,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    let name = name.to_owned();
    let started = thread.spawn(move || {
        let end = run().map_or_else(|error| format!("{error:#}"), |()| "it ended".to_owned());
        eprintln!("load: {name}: {end}");
        std::process::exit(1);
    });
    started.map(drop).context("no thread")
}

/// Starts so many of the same.
pub(crate) fn start_all(
    count: usize,
    name: &str,
    run: impl Fn() -> anyhow::Result<()> + Clone + Send + 'static,
) -> anyhow::Result<()> {
    (0..count).try_for_each(|_| start(name, run.clone()))
}

/// Starts so many threads that help: each computes for so long when the first bell has a job, and rings the second then.
pub(crate) fn start_helpers(count: usize, time: Duration) -> anyhow::Result<[Arc<Bell>; 2]> {
    let bells = [(); 2].map(|()| Arc::new(Bell::default()));
    let [jobs, done] = bells.clone();
    start_all(count, "worker", move || {
        loop {
            jobs.wait();
            compute(time);
            done.ring(1, usize::MAX);
        }
    })?;
    Ok(bells)
}

/// Waits for the end by a signal.
pub(crate) fn forever() -> ! {
    loop {
        thread::park();
    }
}
