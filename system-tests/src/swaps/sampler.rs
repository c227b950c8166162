//! The sampler: reads the kernel's state of sched_ext from a thread of its own, whoever switches
//! and whatever he says about it. What the readings mean is left to who asked for them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use nix::unistd::gettid;

use crate::service;

const STATE: &str = "/sys/kernel/sched_ext/state";

/// Between two readings. Without it the thread would keep a CPU from the schedulers' tasks, which
/// they take for a stall.
const PAUSE: Duration = Duration::from_micros(100);

/// A reading that was not like the one before.
pub(super) struct Change {
    pub(super) state: String,
    /// Just before the last reading of the state before.
    pub(super) before: Instant,
    /// Just after the first reading of this one.
    pub(super) at: Instant,
}

/// What was read in some time.
pub(super) struct Watched {
    pub(super) changes: Vec<Change>,
    /// How often the state was read.
    pub(super) readings: u64,
    /// The longest time from one reading to the next.
    pub(super) blind: Duration,
}

/// Reads until it is dropped.
pub(super) struct Sampler {
    shared: Arc<Shared>,
    changes: Receiver<Change>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// What the thread counts. No lock: one that is held by a task that waits for a CPU would blind it.
#[derive(Default)]
struct Shared {
    done: AtomicBool,
    readings: AtomicU64,
    blind_ns: AtomicU64,
}

impl Sampler {
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, changes) = mpsc::channel();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || read(&shared, &sender)
        });
        Self {
            shared,
            changes,
            thread: Some(thread),
        }
    }

    /// What was read since this was asked last.
    pub(super) fn take(&mut self) -> anyhow::Result<Watched> {
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            let ended = thread.join().map_err(|_| anyhow!("the sampler panicked"))?;
            ended.context("the sampler ended")?;
        }
        ensure!(self.thread.is_some(), "there is no sampler any more");
        Ok(Watched {
            changes: self.changes.try_iter().collect(),
            readings: self.shared.readings.swap(0, Relaxed),
            blind: Duration::from_nanos(self.shared.blind_ns.swap(0, Relaxed)),
        })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.done.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it had to say was not asked for.
            let _ = thread.join();
        }
    }
}

fn read(shared: &Shared, changes: &Sender<Change>) -> anyhow::Result<()> {
    // Before all that is not real-time, as hogs are, and as a task of sched_ext is.
    service::say(&format!("chrt --fifo --pid 50 {}", gettid()))?;
    let file = File::open(STATE).with_context(|| format!("failed to open {STATE}"))?;
    let mut last = (Vec::new(), Instant::now());
    while !shared.done.load(Relaxed) {
        let mut text = [0; 32];
        let before = Instant::now();
        let size = file
            .read_at(&mut text, 0)
            .with_context(|| format!("failed to read {STATE}"))?;
        let at = Instant::now();
        let state = text[..size].trim_ascii();
        shared.readings.fetch_add(1, Relaxed);
        let blind = u64::try_from((at - last.1).as_nanos())?;
        shared.blind_ns.fetch_max(blind, Relaxed);
        if last.0 != state {
            let state = String::from_utf8_lossy(state).into_owned();
            // Who has stopped listening stops this thread too.
            let _ = changes.send(Change {
                state: state.clone(),
                before: last.1,
                at,
            });
            last.0 = state.into_bytes();
        }
        last.1 = before;
        thread::sleep(PAUSE);
    }
    Ok(())
}
