//! A scheduler that decides in user space: while its process waits for something, nothing that it
//! schedules runs, the daemon neither.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::faults::Ground;
use crate::pinning::{self, ActiveScheduler};
use crate::{kernel, load, process, service};

/// For how long it has much to do. It takes up to 30 s until one that spins is ended.
const LOADED: Duration = Duration::from_secs(35);
/// What it keeps from being moved while it runs, so that it never waits for a page.
const COMPACTION: &str = "/proc/sys/vm/compact_unevictable_allowed";

pub(super) fn under_load_it_gets_in_runs_on_and_the_daemon_answers() -> anyhow::Result<()> {
    let ground = Ground::at_rest(pinning::start_with("")?)?;
    let compaction = fs::read_to_string(COMPACTION)?;
    let began = kernel_log_cursor()?;
    // More than there are CPUs: whoever wants one has to be given one by it.
    let loads = [
        load::start("stress-ng --quiet --cpu 8")?,
        load::start("stress-ng --quiet --switch 4")?,
        load::start("stress-ng --quiet --open 2")?,
    ];
    service::say("auto-ext pin rustland")?;
    let active = ActiveScheduler::now(ground.bus())?;
    ensure!(kernel::scheduler() == "scx_rustland", "{active:?}");
    let last = &service::history(1)?[0];
    ensure!(last["way"] == "hot", "{last}");
    ensure!(fs::read_to_string(COMPACTION)?.trim() == "0");

    let pid = u32::try_from(active.pid()?.as_raw())?;
    let (used, begun) = (process::cpu_time(pid)?, Instant::now());
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < LOADED {
        let asked = Instant::now();
        let now = ActiveScheduler::now(ground.bus())?;
        slowest = slowest.max(asked.elapsed());
        ensure!(
            now == active,
            "{active:?} became {now:?}: {}; {}",
            ground.bus().string("LastError"),
            kernel_log(&began)?
        );
        thread::sleep(Duration::from_millis(500));
    }
    let share = (process::cpu_time(pid)? - used) / begun.elapsed().as_secs_f64();
    eprintln!(
        "\n  its process used {:.0} % of a CPU, the slowest answer took {slowest:.1?}",
        100.0 * share
    );
    let log = kernel_log(&began)?;
    ensure!(!log.contains("stall"), "{log}");
    drop(loads);
    service::say("auto-ext pin kernel")?;
    ensure!(fs::read_to_string(COMPACTION)? == compaction);
    ground.is_as_before("rustland")
}

/// A place in the kernel's log: its end.
fn kernel_log_cursor() -> anyhow::Result<String> {
    let shown = service::say("journalctl --quiet --dmesg --lines=0 --show-cursor")?;
    let cursor = shown.rsplit("-- cursor: ").next();
    Ok(cursor.context("no cursor")?.trim().to_owned())
}

fn kernel_log(since: &str) -> anyhow::Result<String> {
    service::say(&format!(
        "journalctl --quiet --dmesg --output=cat --after-cursor={since}"
    ))
}
