//! What holds on a machine of any size, with one CPU as with many, with pressure (PSI) or without.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::{Context as _, ensure};

use super::faults::{Ground, a_game_is_served, with_a_game};
use crate::service;
use crate::{kernel, wait};

pub(super) fn signals_are_known_a_game_is_served_and_swaps_are_hot() -> anyhow::Result<()> {
    let bus = with_a_game()?;
    let pressure = Path::new("/proc/pressure").exists();
    let cpus = available_parallelism()?;
    eprintln!("\n  {cpus} CPUs, pressure: {pressure}");
    wait::until("levels that are unknown", &0, || {
        let levels = service::busctl("Levels").unwrap_or_default();
        levels.matches("unknown").count()
    })?;
    let doctor = service::output("auto-ext doctor")?;
    let doctor = String::from_utf8_lossy(&doctor.stdout);
    ensure!(doctor.contains("psi=1") != pressure, "{doctor}");
    let served = a_game_is_served()?;
    eprintln!("  a game is served {served:.1?} after its start");
    // All is attached that takes its time on a slow machine.
    let ground = Ground::at_rest(bus)?;
    for name in ["bpfland", "cosmos", "bpfland"] {
        service::say(&format!("auto-ext pin {name}"))?;
        ensure!(kernel::scheduler() == format!("scx_{name}"));
        let last = &service::history(1)?[0];
        ensure!(last["way"] == "hot", "pinned {name}: {last}");
        eprintln!("  {name}: {} us without a scheduler", last["gap_us"]);
        has_the_limits_that_can_be_had(&ground)?;
    }
    service::say("auto-ext pin kernel")?;
    ground.is_as_before("swaps")
}

/// Of its memory, unless the kernel has no controller for that; and always of its tasks.
fn has_the_limits_that_can_be_had(ground: &Ground) -> anyhow::Result<()> {
    let memory = !fs::read_to_string("/proc/cmdline")?.contains("cgroup_disable=memory");
    let pid = ground.bus().number("SchedulerPid")?;
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let cgroup = cgroup.trim().strip_prefix("0::/").context("no cgroup")?;
    let limit = |name: &str| {
        let limit = fs::read_to_string(format!("/sys/fs/cgroup/{cgroup}/{name}"));
        limit.is_ok_and(|limit| limit.trim().parse::<u64>().is_ok())
    };
    ensure!(cgroup.contains("/scheduler-"), "{cgroup}");
    ensure!(
        limit("pids.max") && limit("memory.max") == memory,
        "{cgroup}"
    );
    let said = "no limit for their memory";
    let doctor = service::output("auto-ext doctor")?;
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let journal = service::say(&format!(
        "journalctl --quiet --output=cat _PID={}",
        ground.daemon()
    ))?;
    ensure!(doctor.contains(said) != memory, "{doctor}");
    ensure!(
        journal.matches(said).count() == usize::from(!memory),
        "{journal}"
    );
    Ok(())
}
