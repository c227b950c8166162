//! What /proc says of one process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// How many threads a process has.
pub(crate) fn threads(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.map_or(0, Iterator::count)
}

/// What a process has in memory of its own, in KiB.
pub(crate) fn memory(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    Ok(number.context("no RssAnon")?.trim().parse()?)
}

/// For how long the first thread of a process has run, in seconds: to the nanosecond, where [`cpu_time`] counts hundredths.
pub(crate) fn ran(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/schedstat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let first = stat.split(' ').next().unwrap_or_default();
    let ran: u64 = first.parse().with_context(|| path.clone())?;
    Ok(Duration::from_nanos(ran).as_secs_f64())
}

/// The CPU time that a process has used, in seconds.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("no name")?;
    let mut ticks = 0.0;
    for field in rest.split(' ').skip(11).take(2) {
        ticks += field.parse::<f64>()?;
    }
    // USER_HZ, which is the same on every machine that this runs on.
    Ok(ticks / 100.0)
}
