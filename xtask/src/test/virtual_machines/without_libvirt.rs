//! Owns the test of guests that QEMU runs alone.

use anyhow::{Result, ensure};

use super::guest::{CPUS, Guest, MEMORY};
use super::host::{Host, wait_for};

/// They are there before: no memory is taken from a guest in its first minute.
pub(super) const GUESTS: [Guest; 2] =
    [Guest::of_qemu_alone("qemu1"), Guest::of_qemu_alone("qemu2")];

/// Their sockets are found in a directory, and nobody has given them a UUID.
pub(super) fn guests_of_qemu_alone_are_placed_and_give_memory(host: &Host) -> Result<()> {
    for guest in GUESTS {
        host.taskset(guest.name, 0, "0")?;
        host.tell(guest.name, "cpu 40")?;
    }
    let program = host.begin("auto-ext-vm run 2 --qmp /guests/qmp")?;
    program.wait_until_it_says(": vCPUs: 1 pinned and 0 to come")?;
    let mut pinned = [host.mask(GUESTS[0].name, 0)?, host.mask(GUESTS[1].name, 0)?];
    pinned.sort();
    ensure!(pinned == ["0", "1"], "they run on {pinned:?}");
    let said = wait_for("both to give memory", || {
        let said = program.said()?;
        let gave = |guest: &Guest| {
            let begin = format!("  {}: ", guest.name);
            let targets = said
                .lines()
                .filter_map(|line| line.strip_prefix(&begin)?.strip_suffix(" MiB"));
            targets
                .filter_map(|target| target.parse::<u64>().ok())
                .any(|target| target < MEMORY)
        };
        Ok(GUESTS.iter().all(gave).then_some(said.clone()))
    })?;
    program.end("TERM")?;
    for guest in GUESTS {
        let mask = host.mask(guest.name, 0)?;
        ensure!(
            mask == "0",
            "{} runs on {mask}, of {CPUS}:\n{said}",
            guest.name
        );
        host.say(&format!("kill $(cat /guests/{}.pid)", guest.name))?;
    }
    Ok(())
}
