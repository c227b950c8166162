//! Owns the tests of how much memory guests have.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::guest::MEMORY;
use super::host::{Host, wait_for};
use super::{FOUR, WITHOUT_DRIVER, names};

/// What a guest's kernel says when it has no memory for what runs.
const KILLED: &str = "Out of memory: Killed process";

pub(super) fn a_guest_that_grows_always_has_memory_to_spare(host: &Host) -> Result<()> {
    for guest in names(&FOUR) {
        host.tell(guest, "cpu 0")?;
    }
    let program = host.begin("auto-ext-vm run 2 --memory")?;
    // A guest has at least 200.
    for guest in names(&FOUR) {
        wait_for(&format!("{guest} to give memory"), || {
            let actual = host.memory(guest, "actual ")?;
            ensure!(actual >= 200, "{guest} has {actual} MiB");
            Ok((actual < 240).then_some(()))
        })?;
    }
    host.tell("vm1", "grow 8 144")?;
    let mut least = u64::MAX;
    wait_for("vm1 to have all its memory", || {
        least = least.min(host.memory("vm1", "unused ")?);
        Ok((host.memory("vm1", "actual ")? == MEMORY).then_some(()))
    })?;
    // It grows on for a while.
    for _ in 0..20 {
        least = least.min(host.memory("vm1", "unused ")?);
        sleep(Duration::from_secs(1));
    }
    let said = program.end("TERM")?;
    ensure!(least >= 90, "vm1 had {least} MiB unused:\n{said}");
    // Nobody knows what it uses.
    let actual = host.memory(WITHOUT_DRIVER.name, "actual ")?;
    ensure!(
        actual == MEMORY,
        "{} has {actual} MiB:\n{said}",
        WITHOUT_DRIVER.name
    );
    for guest in names(&FOUR) {
        let state = host.say(&format!("virsh --quiet domstate {guest}"))?;
        ensure!(state.trim() == "running", "{guest} is {state}:\n{said}");
        let console = host.console(guest)?;
        ensure!(
            !console.contains(KILLED),
            "{guest} said:\n{console}\n{said}"
        );
    }
    Ok(())
}

/// A step less whenever there is a step to spare, as the assignment's obvious solution has it. Nobody asks how old the numbers are.
pub(super) fn the_naive_rule_kills_a_guest_or_its_program(host: &Host) -> Result<()> {
    const STEP: u64 = 32;
    let guest = "vm4";
    let mut target = host.memory(guest, "actual ")?;
    while target > STEP && host.memory(guest, "unused ")? > 100 {
        target -= STEP;
        host.say(&format!("virsh --quiet setmem {guest} {target}M --live"))?;
    }
    // It may be gone by now.
    let asked = host.tell(guest, "grow 8 64");
    wait_for("the naive rule to do harm", || {
        let state = host.say(&format!("virsh --quiet domstate {guest}"))?;
        let is_killed = state.trim() != "running" || host.console(guest)?.contains(KILLED);
        Ok(is_killed.then_some(()))
    })
    .with_context(|| format!("it was asked to grow: {asked:?}"))
}
