//! Tasks that are woken at even distances, for a little work, beside ones that never sleep; and how late they run. However late they
//! are, they have the same to do: who lets them wait less has no more work by it.

use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::work::{Beat, compute, cpus};

/// From one moment at which a task is to run to its next.
const PERIOD: Duration = Duration::from_millis(40);
/// For how long it is to run then. Who hardly takes any time never waits for others under the kernel's own scheduler, however long
/// they may run.
const WORK: Duration = Duration::from_millis(3);
/// They run until this is dropped.
pub(crate) struct WokenBesideHogs {
    hogs: Vec<Child>,
    woken: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    late: Mutex<Late>,
}

/// How often tasks were woken, and by how much they were late, added up.
#[derive(Clone, Copy, Default)]
struct Late {
    times: u32,
    sum: Duration,
}

impl Shared {
    fn late(&self) -> MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn be_woken(&self) {
        let mut moments = Beat::every(PERIOD);
        while !self.is_over.load(Ordering::Relaxed) {
            let by = moments.wait();
            compute(WORK);
            let mut late = self.late();
            late.times += 1;
            late.sum += by;
        }
    }
}

impl WokenBesideHogs {
    /// With so many tasks for each CPU that never sleep, and one that is woken.
    pub(crate) fn start(hogs: usize) -> anyhow::Result<Self> {
        let mut load = Self {
            hogs: Vec::new(),
            woken: Vec::new(),
            shared: Arc::default(),
        };
        for _ in 0..hogs * cpus() {
            let hog = Command::new("bash")
                .args(["-c", "while :; do :; done"])
                .spawn();
            load.hogs.push(hog.context("failed to run the load")?);
        }
        for _ in 0..cpus() {
            let shared = Arc::clone(&load.shared);
            let woken = thread::Builder::new().name("woken".to_owned());
            load.woken.push(woken.spawn(move || shared.be_woken())?);
        }
        Ok(load)
    }

    /// By how many seconds tasks are late during this time, on average.
    pub(crate) fn lateness(&self, time: Duration) -> anyhow::Result<f64> {
        *self.shared.late() = Late::default();
        sleep(time);
        let late = *self.shared.late();
        ensure!(late.times > 0, "nobody was woken for {time:?}");
        Ok(late.sum.as_secs_f64() / f64::from(late.times))
    }
}

impl Drop for WokenBesideHogs {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for hog in &mut self.hogs {
            // It may have ended.
            let _ = hog.kill();
            let _ = hog.wait();
        }
        for woken in self.woken.drain(..) {
            let _ = woken.join();
        }
    }
}
