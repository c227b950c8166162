//! Servers: one in Java, a database. Which class they are may be argued; that they are one all of the time may not.
//!
//! The first uses 0.66 of all CPUs. The second uses what its disk leaves of them: hardly any where a read takes
//! milliseconds, all of two CPUs where it takes microseconds.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::files::{self, Direct};
use super::work::{Beat, compute, cpus, start, start_all};

/// How much of a request a CPU is busy with.
const REQUEST: Duration = Duration::from_millis(2);
/// How much of all CPUs is asked for, in percent.
const LOAD: u32 = 60;
const CLIENTS: u32 = 4;
/// What a queue holds before requests are turned away.
const QUEUE: usize = 10_000;
/// How often the collector stops the world, and how long it works on each CPU.
const COLLECTION: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(120);

/// The requests that nobody works on yet.
#[derive(Default)]
struct Queue {
    requests: Mutex<VecDeque<()>>,
    came: Condvar,
}

impl Queue {
    fn put(&self) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() < QUEUE {
            requests.push_back(());
        }
        drop(requests);
        self.came.notify_one();
    }

    fn take(&self) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = self.came.wait_while(requests, |queue| queue.is_empty());
        requests.unwrap_or_else(PoisonError::into_inner).pop_front();
    }
}

/// A server in Java: a thread per CPU takes requests from a queue, which clients fill whether or not the last ones
/// are answered. Every 2 s the collector stops all of them and takes all CPUs.
pub(super) fn jvm() -> anyhow::Result<()> {
    let threads = cpus();
    let queue = Arc::new(Queue::default());
    let world = Arc::new(RwLock::new(()));
    let (taken, running) = (Arc::clone(&queue), Arc::clone(&world));
    start_all(threads, "request", move || {
        loop {
            taken.take();
            let _running = running.read().unwrap_or_else(PoisonError::into_inner);
            compute(REQUEST);
        }
    })?;
    let of_all = u32::try_from(threads).context("CPUs")? * LOAD;
    // Of one client: what all CPUs could take, by the share that is asked for.
    let mean = REQUEST * 100 * CLIENTS / of_all;
    for seed in 0..CLIENTS {
        let queue = Arc::clone(&queue);
        start("client", move || {
            let mut chance = fastrand::Rng::with_seed(seed.into());
            let mut requests = Beat::every(mean);
            loop {
                // As many people who do not know of each other ask.
                let distance = mean.mul_f64(-(1.0 - chance.f64()).ln());
                requests.wait_and_then(distance);
                queue.put();
            }
        })?;
    }
    start("collector", move || {
        let mut collections = Beat::every(COLLECTION);
        loop {
            collections.wait();
            let _stopped = world.write().unwrap_or_else(PoisonError::into_inner);
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| compute(PAUSE));
                }
            });
        }
    })
}

/// A database: 16 clients that each read a page from anywhere past the page cache and work on it for a moment; each
/// tenth time one writes to the log and waits for the disk.
pub(super) fn database() -> anyhow::Result<()> {
    let log = Arc::new(files::log()?);
    for seed in 0..16 {
        let log = Arc::clone(&log);
        let mut file = Direct::open()?;
        start("client", move || {
            let mut chance = fastrand::Rng::with_seed(seed);
            loop {
                for _ in 0..10 {
                    file.read_anywhere(16 << 10, &mut chance)?;
                    compute(Duration::from_micros(100));
                }
                files::write_to_log(&log, &mut chance)?;
            }
        })?;
    }
    Ok(())
}
