//! What is held against schedulers, for how long, and the safe mode.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::service::{self, Bus};
use crate::{broken, kernel, pinning, policy, wait};

/// An idle machine wants a scheduler, the first of these that can be had.
fn start_wanting(schedulers: &str, candidates: &str) -> anyhow::Result<Bus> {
    policy::write(&format!(
        "version: 1\nschedulers: {{{schedulers}}}\nrules: [{{class: idle, use: [{candidates}]}}]\n\
         stability: {{min_run: 1s, max_switches_per_hour: 100}}\n"
    ))?;
    service::restart()?;
    Bus::connect()
}

/// The names of the schedulers that are quarantined.
fn quarantined() -> Vec<String> {
    let status = service::say("auto-ext status --json").unwrap_or_default();
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    let quarantined = status["quarantined"].as_object().cloned();
    quarantined
        .unwrap_or_default()
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

/// How often something failed since boot, as far as the history goes.
fn failures() -> anyhow::Result<usize> {
    let history = service::history(1000)?;
    let failed = history
        .iter()
        .filter(|entry| entry["event"] == "failed" || entry["event"] == "exited");
    Ok(failed.count())
}

/// Nothing has failed but so often.
fn has_failed(times: usize) -> anyhow::Result<()> {
    let failures = failures()?;
    ensure!(failures == times, "{failures} failures, not {times}");
    Ok(())
}

pub(super) fn a_failure_is_remembered_until_it_is_reset_or_its_program_replaced()
-> anyhow::Result<()> {
    let exits = broken::script("exits", "#!/bin/sh\nexit 7\n")?;
    policy::write(policy::QUIET)?;
    service::restart()?;
    let before = failures()?;
    start_wanting(&format!("exits: {{command: {exits}}}"), "exits, kernel")?;
    let one = vec!["exits".to_owned()];
    wait::until("quarantined", &one, quarantined)?;
    has_failed(before + 1)?;
    for command in ["systemctl restart", "systemctl kill --signal=KILL"] {
        service::say(&format!("{command} auto-ext.service"))?;
        wait::until("quarantined by the next daemon", &one, quarantined)?;
        std::thread::sleep(Duration::from_secs(2));
        has_failed(before + 1).context(command)?;
    }
    let doctor = service::output("auto-ext doctor")?;
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(
        doctor.contains("`auto-ext schedulers --reset-failed exits`"),
        "{doctor}"
    );
    service::say("auto-ext schedulers --reset-failed exits")?;
    wait::until("failures after they were reset", &Some(before + 2), || {
        failures().ok()
    })?;
    broken::script("exits", "#!/bin/sh\n# mended\nexit 7\n")?;
    wait::until("failures of the new program", &Some(before + 3), || {
        failures().ok()
    })?;
    wait::until("quarantined", &one, quarantined)?;
    Ok(())
}

pub(super) fn a_renamed_scheduler_that_dies_is_noticed_at_once_and_quarantined_by_each_name()
-> anyhow::Result<()> {
    let bus = start_wanting("first: {command: scx_cosmos}", "first, kernel")?;
    wait::until("scheduler", &"scx_cosmos".to_owned(), kernel::scheduler)?;
    let (before, enabled) = (failures()?, kernel::enable_seq());
    policy::write(
        "version: 1\nschedulers: {second: {command: scx_cosmos}, third: {command: scx_cosmos}}\n\
         rules: [{class: idle, use: [second, third, kernel]}]\n\
         stability: {min_run: 1s, max_switches_per_hour: 100}\n",
    )?;
    service::say("auto-ext reload")?;
    ensure!(kernel::enable_seq() == enabled, "it was loaded again");
    let pid = bus.number("SchedulerPid")?;
    service::say(&format!("kill -KILL {pid}"))?;
    let names = vec!["second".to_owned(), "third".to_owned()];
    let took = wait::until("quarantined", &names, quarantined)?;
    eprintln!("\n  quarantined {took:.1?} after it was killed");
    ensure!(
        took < Duration::from_secs(10),
        "noticed after {took:.1?} only"
    );
    let error = bus.string("LastError");
    ensure!(error == "second: was killed by SIGKILL", "{error}");
    // Still within the shortest time for which one is quarantined.
    std::thread::sleep(Duration::from_secs(10));
    has_failed(before + 1)?;
    ensure!(kernel::scheduler() == "kernel" && kernel::enable_seq() == enabled);
    Ok(())
}

pub(super) fn one_that_leaves_when_asked_has_not_failed_whatever_its_status() -> anyhow::Result<()>
{
    let rude = "#!/bin/sh\ntrap 'wait $child; exit 3' INT\nscx_cosmos & child=$!\nwait $child\n";
    let rude = broken::wrapped_cosmos("rude", rude)?;
    let bus = pinning::start_with(&format!("rude: {{command: {rude}}}"))?;
    let before = failures()?;
    for next in ["kernel", "bpfland", "kernel"] {
        service::say("auto-ext pin rude")?;
        service::say(&format!("auto-ext pin {next}"))?;
        let (names, error) = (quarantined(), bus.string("LastError"));
        ensure!(
            names.is_empty() && error.is_empty(),
            "{next}: {names:?}, {error}"
        );
    }
    has_failed(before)?;
    let said = service::say("journalctl --unit auto-ext --boot --output cat")?;
    ensure!(
        said.contains("rude left when it was asked to: exited with status 3"),
        "its status is not told"
    );
    service::say("auto-ext unpin").map(drop)
}

pub(super) fn sysrq_brings_the_safe_mode_until_a_person_ends_it() -> anyhow::Result<()> {
    let enabled = kernel::enable_seq() + 1;
    let bus = start_wanting("", "bpfland, kernel")?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    // The kernel counts it a moment after it says so.
    wait::until("schedulers enabled", &enabled, kernel::enable_seq)?;
    fs::write("/proc/sys/kernel/sysrq", "1")?;
    fs::write("/proc/sysrq-trigger", "S")?;
    let took = wait::until("mode", &"observe".to_owned(), || bus.string("Mode"))?;
    eprintln!("\n  safe mode {took:.1?} after SysRq-S");
    let reason = bus.string("Reason");
    ensure!(
        reason.starts_with("safe mode") && reason.contains("SysRq-S"),
        "{reason}"
    );
    let error = bus.string("LastError");
    ensure!(error.contains("sysrq"), "{error}");
    wait::until("the scheduler's process", &1, || {
        service::processes().map_or(0, |processes| processes.len())
    })?;
    std::thread::sleep(Duration::from_secs(5));
    ensure!(kernel::scheduler() == "kernel" && kernel::enable_seq() == enabled);
    let doctor = service::output("auto-ext doctor")?;
    ensure!(
        doctor.status.code() == Some(1),
        "doctor finds nothing in the safe mode"
    );
    service::say("auto-ext schedulers --reset-failed bpfland")?;
    service::say("auto-ext reload")?;
    wait::until(
        "scheduler after reload",
        &"scx_bpfland".to_owned(),
        kernel::scheduler,
    )?;
    ensure!(bus.string("Mode") == "auto", "{}", bus.string("Mode"));
    Ok(())
}

pub(super) fn two_boots_that_went_down_bring_the_safe_mode() -> anyhow::Result<()> {
    let bus = start_wanting("", "bpfland, kernel")?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    service::stop()?;
    // As two machines leave it that went down; this one is not to do it.
    fs::write(
        "/var/lib/auto-ext/boot.json",
        "{\"id\":\"another\",\"good\":false,\"failed_before\":1}",
    )?;
    let enabled = kernel::enable_seq();
    service::restart()?;
    wait::until("mode", &"observe".to_owned(), || bus.string("Mode"))?;
    let reason = bus.string("Reason");
    ensure!(reason.contains("went down 2 times in a row"), "{reason}");
    std::thread::sleep(Duration::from_secs(2));
    ensure!(kernel::enable_seq() == enabled, "something was started");
    // Stopped in good order: it was not the machine's end.
    service::restart()?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    Ok(())
}
