//! Which CPUs there are, and threads that stay on one.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context as _;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread.
const THIS: Pid = Pid::from_raw(0);

/// The CPUs that this thread may use.
pub(super) fn allowed() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(THIS).context("the CPUs that are allowed")?;
    let all = 0..CpuSet::count();
    Ok(all.filter(|&cpu| set.is_set(cpu) == Ok(true)).collect())
}

/// One CPU of each core, of those that are allowed.
pub(super) fn one_of_each_core() -> anyhow::Result<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let mut cores = allowed()?;
    cores.retain(|cpu| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
        // A machine that does not say which CPUs are of one core has one CPU in each.
        let siblings = fs::read_to_string(path).unwrap_or_else(|_| cpu.to_string());
        seen.insert(siblings)
    });
    Ok(cores)
}

/// Keeps this thread on that CPU.
pub(super) fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(THIS, &set).with_context(|| format!("pinning to CPU {cpu}"))
}
