//! Owns the tests of what is shown without anything being changed.

use anyhow::{Context as _, Result, ensure};

use super::guest::MEMORY;
use super::host::Host;
use super::placing::{at, busy, masks};
use super::{FOUR, WITHOUT_BALLOON, names};

pub(super) fn the_monitor_shows_what_was_ordered(host: &Host) -> Result<()> {
    at(host, &FOUR, &["0"])?;
    let program = host.begin("auto-ext-vm monitor 2")?;
    program.wait_until_it_says("Iteration number :  2\n")?;
    let said = program.end("TERM")?;
    let first = said
        .split("Iteration number :  2\n")
        .next()
        .unwrap_or_default();
    let lines: Vec<&str> = first.lines().collect();
    ensure!(lines.first() == Some(&"Iteration number :  1"), "{said}");
    let cpu = lines
        .iter()
        .find_map(|line| line.strip_prefix("0 - usage: "));
    let (usage, mapping) = cpu
        .and_then(|line| line.split_once(" | mapping "))
        .context(said.clone())?;
    ensure!(usage.parse::<f64>().is_ok(), "{said}");
    ensure!(mapping == "['vm1', 'vm2', 'vm3', 'vm4']", "{said}");
    for guest in names(&FOUR) {
        let begin = format!("Memory (VM: {guest})  Actual [{MEMORY}.0], Unused: [");
        let unused = lines
            .iter()
            .find_map(|line| line.strip_prefix(&*begin)?.strip_suffix(']'));
        let unused: f64 = unused
            .and_then(|unused| unused.parse().ok())
            .context(said.clone())?;
        ensure!(unused > 0.0, "{said}");
    }
    Ok(())
}

pub(super) fn a_dry_run_tells_the_plan_and_changes_nothing(host: &Host) -> Result<()> {
    at(host, &FOUR, &["0"])?;
    busy(host, &FOUR, &[30])?;
    let said = host.say("auto-ext-vm plan --dry-run 2")?;
    ensure!(
        said.starts_with("4 guests on ") && said.contains("nothing was changed"),
        "{said}"
    );
    ensure!(said.contains(" pinned and 0 to come: "), "{said}");
    ensure!(said.contains("/0: to CPU 1\n"), "{said}");
    ensure!(said.contains("vm1: its memory is left alone: "), "{said}");
    let after = masks(host, &FOUR)?;
    ensure!(after == ["0"; 4], "they run on {after:?}");
    Ok(())
}

/// That it is said of them is enough here: that they keep their memory is tried where others lose some.
pub(super) fn who_has_no_balloon_is_said(host: &Host) -> Result<()> {
    let said = host.say("auto-ext-vm plan --dry-run 1")?;
    let none = format!(
        "{}: its memory is left alone: no balloon\n",
        WITHOUT_BALLOON.name
    );
    ensure!(said.contains(&none), "{said}");
    Ok(())
}
