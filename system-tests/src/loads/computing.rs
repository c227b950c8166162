//! Programs that compute: hogs, in the background too; pools whose threads meet; guests of a virtual machine host.
//!
//! Of N CPUs they use N, but for the encoder and the inference, whose threads wait for the last (a little less), and
//! the idle guests (0.03).

use std::sync::{Arc, Barrier};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::errno::Errno;
use nix::libc;

use super::cpus::{allowed, one_of_each_core, pin};
use super::work::{Beat, compute, cpus, hog, start, start_all};

/// As many hogs as CPUs.
pub(super) fn hogs() -> anyhow::Result<()> {
    start_all(cpus(), "hog", || hog())
}

/// Twice as many hogs as CPUs.
pub(super) fn two_hogs_per_cpu() -> anyhow::Result<()> {
    start_all(2 * cpus(), "hog", || hog())
}

/// Work that the user called unimportant: two hogs per CPU at nice 19.
pub(super) fn batch_at_nice_19() -> anyhow::Result<()> {
    start_all(2 * cpus(), "batch", || {
        // On Linux it is the thread's own: setpriority(2), "C library/kernel differences".
        rustix::process::setpriority_process(None, 19).context("nice 19")?;
        hog()
    })
}

/// Work for which only CPUs without anything else are to be used: two hogs per CPU under SCHED_IDLE.
pub(super) fn batch_under_sched_idle() -> anyhow::Result<()> {
    start_all(2 * cpus(), "batch", || {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: the kernel only reads the parameters, which live as long as the call. 0 is this thread.
        let result =
            unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
        Errno::result(result).context("SCHED_IDLE")?;
        hog()
    })
}

/// A video encoder: a pool of a thread per CPU that meets after every 2 ms of work.
pub(super) fn encoder() -> anyhow::Result<()> {
    let row = Arc::new(Barrier::new(cpus()));
    start_all(cpus(), "encode", move || {
        loop {
            compute(Duration::from_millis(2));
            row.wait();
        }
    })
}

/// Inference of a language model: a thread on each core, however many CPUs a core has, that meet after every layer
/// of 20 ms.
pub(super) fn inference() -> anyhow::Result<()> {
    let cores = one_of_each_core()?;
    let layer = Arc::new(Barrier::new(cores.len()));
    for cpu in cores {
        let layer = Arc::clone(&layer);
        start("infer", move || {
            pin(cpu)?;
            loop {
                compute(Duration::from_millis(20));
                layer.wait();
            }
        })?;
    }
    Ok(())
}

/// Three hogs on each of a quarter of the CPUs, as in a cpuset.
pub(super) fn hogs_in_a_cpuset() -> anyhow::Result<()> {
    let allowed = allowed()?;
    ensure!(!allowed.is_empty(), "no CPU is allowed");
    let quarter = (allowed.len() / 4).max(1);
    for &cpu in &allowed[..quarter] {
        for _ in 0..3 {
            start("hog", move || {
                pin(cpu)?;
                hog()
            })?;
        }
    }
    Ok(())
}

/// A host of virtual machines in which nothing happens: timers of three guests, and somebody who looks at something
/// each second.
pub(super) fn idle_guests() -> anyhow::Result<()> {
    start_all(3, "vcpu", || {
        let mut ticks = Beat::every(Duration::from_millis(4));
        loop {
            compute(Duration::from_micros(20));
            ticks.wait();
        }
    })?;
    start("monitor", || {
        let mut looks = Beat::every(Duration::from_secs(1));
        loop {
            compute(Duration::from_millis(5));
            looks.wait();
        }
    })
}

/// A host of virtual machines that compute: the host's thread of each comes back to the host with each tick.
pub(super) fn busy_guests() -> anyhow::Result<()> {
    start_all(cpus(), "vcpu", || {
        loop {
            compute(Duration::from_millis(4));
            sleep(Duration::from_micros(50));
        }
    })
}
