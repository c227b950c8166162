//! Counters of the processor, by work of which it is known how many instructions it has.

use std::fs;
use std::io::{Read as _, Write as _};

use anyhow::{Context as _, ensure};
use auto_ext_smt::counters::pmu::{self, NotBelieved};
use auto_ext_smt::counters::{Counters as _, Metric, NoSpeed, Perf, Reading, speed};
use nix::unistd::Uid;

use crate::root;
use crate::work::{CPUS, alone, run, start, succeeded};

/// How many instructions are run where nothing is to be shared.
const MANY: u64 = 100_000_000;
/// What each takes, as the machine is emulated.
const IPC: f64 = 0.5;
/// So many pairs want more counters than there are, by about four.
const GROUPS: usize = 12;
/// As many that each is counted in an eighth of the time.
const TOO_MANY: usize = 2 * GROUPS;
/// Long enough that each of them had its turn dozens of times.
const LONG: u64 = 500_000_000;
/// From this value on Debian's kernels let only root count.
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

pub(crate) fn counters_are_believed_on_every_cpu() -> anyhow::Result<()> {
    for cpu in 0..CPUS {
        let _alone = alone(cpu)?;
        pmu::check(root(), cpu).with_context(|| format!("CPU {cpu}"))?;
    }
    Ok(())
}

pub(crate) fn a_known_number_of_instructions_is_counted() -> anyhow::Result<()> {
    let _alone = alone(0)?;
    let mut counters = Perf::hardware(root(), 1);
    counters.open(0)?;
    let first = counters.read()?;
    let before = counters.read()?;
    run(MANY);
    let now = counters.read()?;
    let counted = difference(&before, &now);
    // To read takes some itself, each time the same.
    let read = difference(&first, &before).instructions;
    let ran = counted.instructions - read;
    println!("{counted:?}, of which {read} instructions to read them");
    near(ran as f64, MANY as f64, 1e-5)?;
    ensure!(counted.running == counted.enabled, "{counted:?}");
    near(speed(Metric::Ipc, &before, &now)?, IPC, 2e-3)?;
    // As many a nanosecond, less what the kernel took of its time.
    near(speed(Metric::Rate, &before, &now)?, IPC, 0.05)
}

pub(crate) fn processes_are_counted_with_what_they_start_after_both_have_ended()
-> anyhow::Result<()> {
    let _alone = alone(0)?;
    let (mut begins, mut begin) = std::io::pipe()?;
    let parent = start(|| {
        begins.read_exact(&mut [0])?;
        succeeded(start(|| {
            run(MANY);
            Ok(())
        })?)?;
        run(MANY);
        Ok(())
    })?;
    let mut counters = Perf::of_processes(root(), &[u32::try_from(parent.as_raw())?], 10)?;
    ensure!(counters.threads() == 1, "{counters:?}");
    begin.write_all(&[0])?;
    succeeded(parent)?;
    let counted = counters.read()?;
    println!("{counted:?}");
    // Beside the loops they fork, wait and end.
    near(counted.instructions as f64, 2.0 * MANY as f64, 1e-4)
}

pub(crate) fn groups_that_share_the_counters_are_counted_in_proportion() -> anyhow::Result<()> {
    for (before, now) in counted_by(GROUPS)? {
        let counted = difference(&before, &now);
        ensure!(counted.running < counted.enabled, "not shared: {counted:?}");
        let share = counted.running as f64 / counted.enabled as f64;
        near(counted.instructions as f64 / share, LONG as f64, 0.01)?;
        near(speed(Metric::Ipc, &before, &now)?, IPC, 0.01)?;
    }
    Ok(())
}

pub(crate) fn what_is_hardly_counted_is_not_believed() -> anyhow::Result<()> {
    for (before, now) in counted_by(TOO_MANY)? {
        let speed = speed(Metric::Ipc, &before, &now);
        ensure!(
            matches!(speed, Err(NoSpeed::Starved(share)) if share > 0.0),
            "{speed:?}"
        );
    }
    let _alone = alone(0)?;
    // Threads are counted by what counts who started them: that of the check too.
    let _others = opened(GROUPS)?;
    let believed = pmu::check(root(), 0);
    ensure!(
        matches!(believed, Err(NotBelieved::Starved(_))),
        "{believed:?}"
    );
    Ok(())
}

pub(crate) fn who_may_not_count_is_told() -> anyhow::Result<()> {
    let _alone = alone(0)?;
    for (paranoid, word) in [("3", "denied"), ("2", "ok")] {
        fs::write(PARANOID, paranoid)?;
        let nobody = start(|| {
            nix::unistd::setuid(Uid::from_raw(65534))?;
            let found = pmu::check(root(), 0);
            let found = found.as_ref().map_or_else(NotBelieved::word, |()| "ok");
            ensure!(
                found == word,
                "{found}, where perf_event_paranoid is {paranoid}"
            );
            Ok(())
        })?;
        succeeded(nobody)?;
    }
    Ok(())
}

/// So many that count this thread.
fn opened(groups: usize) -> anyhow::Result<Vec<Perf>> {
    let mut all = Vec::new();
    for _ in 0..groups {
        let mut counters = Perf::hardware(root(), 1);
        counters.open(0)?;
        all.push(counters);
    }
    Ok(all)
}

/// What so many read before and after the same work.
fn counted_by(groups: usize) -> anyhow::Result<Vec<(Reading, Reading)>> {
    let _alone = alone(0)?;
    let mut all = opened(groups)?;
    let mut read = || -> anyhow::Result<Vec<Reading>> {
        all.iter_mut()
            .map(|counters| Ok(counters.read()?))
            .collect()
    };
    let before = read()?;
    run(LONG);
    Ok(before.into_iter().zip(read()?).collect())
}

fn difference(before: &Reading, now: &Reading) -> Reading {
    Reading {
        cycles: now.cycles - before.cycles,
        instructions: now.instructions - before.instructions,
        enabled: now.enabled - before.enabled,
        running: now.running - before.running,
    }
}

/// Whether a number is off by no more than this part of what is expected.
fn near(found: f64, expected: f64, off: f64) -> anyhow::Result<()> {
    let differs = (found - expected).abs() / expected;
    ensure!(
        differs <= off,
        "{found} instead of {expected}: off by {differs:e}"
    );
    Ok(())
}
