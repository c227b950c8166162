//! Jobs whose waits are timed by themselves: what schbench does, and the frames of a game. Beside each a hog for each CPU
//! wants to run, without which there is nothing to schedule.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::loads::work::{Beat, compute, cpus, hog, start_all, start_helpers};

/// So often somebody wakes all workers, and so many times.
const ROUND: Duration = Duration::from_millis(20);
const ROUNDS: u32 = 150;

/// 30 Hz, and how many frames there are.
const FRAME: Duration = Duration::from_micros(33_333);
const FRAMES: u32 = 100;

/// Does the job of that name, and prints what its waits were, in microseconds.
pub(super) fn run(name: &str) -> anyhow::Result<()> {
    start_all(cpus(), "hog", || hog())?;
    let waits = match name {
        "wake-ups" => wake_ups()?,
        "frames" => frames()?,
        _ => bail!("there is no job `{name}`"),
    };
    print(waits).context("there was nothing to wait for")
}

/// From when workers are woken to when they run. Each wakes for a moment of work.
fn wake_ups() -> anyhow::Result<Vec<Duration>> {
    let (tell, told): (SyncSender<Duration>, Receiver<Duration>) = sync_channel(1024);
    let mut workers = Vec::new();
    for _ in 0..2 * cpus() {
        let (wake, woken) = sync_channel::<Instant>(1);
        let tell = tell.clone();
        thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || {
                for since in woken {
                    // After the last round nobody listens.
                    let _ = tell.send(since.elapsed());
                    compute(Duration::from_micros(200));
                }
            })?;
        workers.push(wake);
    }
    let mut rounds = Beat::every(ROUND);
    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        for worker in &workers {
            // One that is behind is left out.
            let _ = worker.try_send(Instant::now());
        }
        rounds.wait();
        waits.extend(told.try_iter());
    }
    Ok(waits)
}

/// From when a frame is due to when it is made, by a main thread with the help of workers.
fn frames() -> anyhow::Result<Vec<Duration>> {
    let cpus = cpus();
    let [jobs, done] = start_helpers(cpus, Duration::from_millis(1))?;
    let mut waits = Vec::new();
    let mut due = Instant::now();
    for _ in 0..FRAMES {
        compute(Duration::from_millis(3));
        jobs.ring(cpus, cpus);
        (0..cpus).for_each(|_| done.wait());
        compute(Duration::from_millis(2));
        waits.push(due.elapsed());
        due += FRAME;
        match due.checked_duration_since(Instant::now()) {
            Some(left) => thread::sleep(left),
            // What is late does not catch up.
            None => due = Instant::now(),
        }
    }
    Ok(waits)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a few seconds, and some thousand of them"
)]
fn print(mut waits: Vec<Duration>) -> anyhow::Result<()> {
    waits.sort_unstable();
    let last = waits.len().checked_sub(1).context("no wait")?;
    let micros = |wait: Duration| wait.as_secs_f64() * 1e6;
    let mean = waits.iter().copied().map(micros).sum::<f64>() / waits.len() as f64;
    let at = |percent: usize| micros(waits[last * percent / 100]);
    writeln!(
        io::stdout(),
        "mean: {mean:.1} us, 50th: {:.1} us, 95th: {:.1} us, 99th: {:.1} us",
        at(50),
        at(95),
        at(99)
    )?;
    Ok(())
}
