//! org.scx.Loader, offered by auto-ext: the real scxctl, and clients that do what falcond and power-profiles-daemon do.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::ensure;

use super::faults::{game, install_game};
use crate::load;
use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

/// A game brings scx_flash, and nothing else brings anything.
const POLICY: &str = "version: 1\nrules:\n  \
    - {class: game, when: {process: [the-game]}, use: [scx_flash, kernel]}\n  \
    - {class: idle, use: [kernel]}\n\
    stability: {min_run: 1s, max_switches_per_hour: 1000}\n";
const OFFERED: &str = "compat: {scx_loader: on}\n";
const CONFIGURATION: &str = "/etc/scx_loader.toml";

/// Runs scxctl, which says this on standard output, and ends so.
fn scxctl(arguments: &str, code: i32, says: &str) -> anyhow::Result<()> {
    let output = service::output(&format!("scxctl {arguments}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code) && (said.trim() == says || error.contains(says)),
        "scxctl {arguments}: {}: {said}{error}",
        output.status
    );
    Ok(())
}

/// A call of a client that is a service of this name.
fn as_service(unit: &str, method: &str) -> anyhow::Result<()> {
    service::say(&format!(
        "systemd-run --quiet --wait --collect --unit={unit} \
         busctl call org.scx.Loader /org/scx/Loader org.scx.Loader {method}"
    ))?;
    Ok(())
}

fn property(name: &str) -> anyhow::Result<String> {
    service::say(&format!(
        "busctl get-property org.scx.Loader /org/scx/Loader org.scx.Loader {name}"
    ))
}

fn arguments() -> anyhow::Result<String> {
    let pid = service::busctl("SchedulerPid")?;
    let pid = pid.trim_start_matches("u ");
    let line = fs::read(format!("/proc/{pid}/cmdline"))?;
    Ok(String::from_utf8_lossy(&line)
        .trim_end_matches('\0')
        .replace('\0', " "))
}

fn offer() -> anyhow::Result<Bus> {
    policy::write(&format!("{POLICY}{OFFERED}"))?;
    service::restart()?;
    wait::until("the name", &true, || property("CurrentScheduler").is_ok())?;
    Bus::connect()
}

pub(super) fn scxctl_does_what_it_says_and_sees_what_is_true() -> anyhow::Result<()> {
    let bus = offer()?;
    scxctl("get", 0, "no scx scheduler running")?;
    let listed = service::say("scxctl list")?;
    ensure!(
        listed.contains("\"bpfland\"")
            && listed.contains("\"flash\"")
            && !listed.contains("pandemonium"),
        "{listed}"
    );
    scxctl(
        "modes --sched bpfland",
        0,
        "modes configured for Bpfland: [Auto, Gaming, PowerSave, LowLatency, Server]\n(unlisted modes run with Bpfland's own defaults; use --show-args to see them all)",
    )?;
    scxctl(
        "switch --sched bpfland",
        1,
        "no scx scheduler running, use 'start'",
    )?;
    scxctl("restart", 1, "No scheduler is currently running to restart")?;
    scxctl("restore", 1, "no default scheduler configured")?;
    scxctl(
        "start --sched pandemonium",
        1,
        "invalid value 'pandemonium'",
    )?;

    scxctl(
        "start --sched bpfland --mode gaming",
        0,
        "started Bpfland in Gaming mode",
    )?;
    kernel::runs("scx_bpfland")?;
    ensure!(
        arguments()?.ends_with("scx_bpfland -m all"),
        "{}",
        arguments()?
    );
    scxctl("get", 0, "running Bpfland in Gaming mode")?;
    ensure!(
        bus.string("Reason")
            .starts_with("pinned by machine-command"),
        "{}",
        bus.string("Reason")
    );
    scxctl("start --sched flash", 1, "already running, use 'switch'")?;
    scxctl(
        "switch --mode powersave",
        0,
        "switched to Bpfland in PowerSave mode",
    )?;
    wait::until("mode", &"u 2".to_owned(), || {
        property("SchedulerMode").unwrap_or_default()
    })?;
    wait::until("arguments", &true, || {
        arguments().is_ok_and(|line| line.contains("-m powersave"))
    })?;
    scxctl(
        "switch --sched flash --args=--slice-us,5000",
        0,
        "switched to Flash with arguments \"--slice-us 5000\"",
    )?;
    kernel::runs("scx_flash")?;
    scxctl("get", 0, "running Flash with arguments \"--slice-us 5000\"")?;

    let (before, enabled) = (bus.number("SchedulerPid")?, kernel::enable_seq());
    scxctl("restart", 0, "restarted")?;
    wait::until("another instance", &true, || kernel::enable_seq() > enabled)?;
    kernel::runs("scx_flash")?;
    wait::until("another process", &true, || {
        bus.number("SchedulerPid")
            .is_ok_and(|now| now != before && now != 0)
    })?;
    scxctl("get", 0, "running Flash with arguments \"--slice-us 5000\"")?;

    a_death_is_seen()?;

    // What ran before the first request was nothing, so this leaves the choice to the policy.
    scxctl("stop", 0, "stopped")?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("kernel")
}

fn a_death_is_seen() -> anyhow::Result<()> {
    service::say("pkill -KILL -x scx_flash")?;
    let killed_at = Instant::now();
    wait::until("no scheduler", &true, || {
        service::say("scxctl get").is_ok_and(|said| said == "no scx scheduler running")
    })?;
    eprintln!("\n  seen after {:.0?}", killed_at.elapsed());
    Ok(())
}

pub(super) fn who_puts_back_what_ran_leaves_the_choice_to_the_policy() -> anyhow::Result<()> {
    let bus = offer()?;
    install_game()?;
    let game = game()?;
    kernel::runs("scx_flash")?;
    let changes = load::start_command(Command::new("sh").args([
        "-c",
        "busctl monitor --match type=signal,path=/org/scx/Loader > /root/signals",
    ]))?;
    // As falcond does: what runs and its mode are read, and asked for again at the end.
    ensure!(
        property("CurrentScheduler")? == "s \"scx_flash\"" && property("SchedulerMode")? == "u 0"
    );
    as_service("falcond", "SwitchScheduler su scx_bpfland 1")?;
    kernel::runs("scx_bpfland")?;
    ensure!(
        bus.string("Reason").starts_with("pinned by falcond"),
        "{}",
        bus.string("Reason")
    );
    let status = service::say("auto-ext status")?;
    ensure!(status.contains("pinned by falcond"), "{status}");
    let doctor = service::output("auto-ext doctor")?;
    let findings = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(findings.contains("pinned by falcond"), "{findings}");
    as_service("falcond", "SwitchScheduler su scx_flash 0")?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("scx_flash")?;

    // As the patch of power-profiles-daemon does: what runs, in another mode.
    as_service(
        "power-profiles-daemon-test",
        "SwitchScheduler su scx_flash 2",
    )?;
    ensure!(bus.string("Mode") == "auto", "{}", bus.string("Reason"));
    drop(game);
    kernel::runs("kernel")?;
    let signals = fs::read_to_string("/root/signals")?;
    drop(changes);
    ensure!(
        signals.contains("PropertiesChanged") && signals.contains("scx_bpfland"),
        "{signals}"
    );

    // Nothing ran, as falcond sees it: it stops what it started.
    ensure!(property("CurrentScheduler")? == "s \"unknown\"");
    as_service("falcond", "SwitchScheduler su scx_bpfland 1")?;
    kernel::runs("scx_bpfland")?;
    as_service("falcond", "StopScheduler")?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("kernel")?;

    // What a person pinned before the game is pinned after it.
    service::say("auto-ext pin cosmos")?;
    as_service("falcond", "SwitchScheduler su scx_bpfland 1")?;
    kernel::runs("scx_bpfland")?;
    as_service("falcond", "SwitchScheduler su scx_cosmos 0")?;
    kernel::runs("scx_cosmos")?;
    wait::until("reason", &"pinned".to_owned(), || bus.string("Reason"))?;

    // The daemon is another one when the game ends, whose choice it is left to.
    as_service("falcond", "SwitchScheduler su scx_bpfland 1")?;
    kernel::runs("scx_bpfland")?;
    service::replace(service::REPLACED_BY[0])?;
    let bus = Bus::connect()?;
    as_service("falcond", "SwitchScheduler su scx_cosmos 0")?;
    ensure!(bus.string("Mode") == "auto", "{}", bus.string("Reason"));
    kernel::runs("kernel")
}

pub(super) fn scx_loader_stays_down_while_its_interface_is_offered() -> anyhow::Result<()> {
    // It has the name when auto-ext comes, and gives it away.
    policy::write(POLICY)?;
    service::restart()?;
    service::say("systemctl restart scx_loader.service")?;
    fs::write(
        CONFIGURATION,
        "default_sched = \"scx_bpfland\"\ndefault_mode = \"Gaming\"\n",
    )?;
    let bus = offer()?;
    // The configuration says in what it begins.
    kernel::runs("scx_bpfland")?;
    ensure!(
        bus.string("Reason")
            .starts_with(&format!("pinned by {CONFIGURATION}")),
        "{}",
        bus.string("Reason")
    );
    let owner = || service::say("busctl status org.scx.Loader").unwrap_or_default();
    ensure!(owner().contains("auto-ext.service"), "{}", owner());
    scxctl("switch --sched flash", 0, "switched to Flash in Auto mode")?;
    kernel::runs("scx_flash")?;
    scxctl(
        "restore",
        0,
        "restored default scheduler Bpfland in Gaming mode",
    )?;
    kernel::runs("scx_bpfland")?;
    fs::remove_file(CONFIGURATION)?;

    // Once it has ended it is not started again.
    service::say("systemctl stop scx_loader.service")?;
    drop(service::output("systemctl start scx_loader.service")?);
    let state = service::say("systemctl show --property=ActiveState --value scx_loader.service")?;
    ensure!(state == "inactive", "{state}");
    ensure!(owner().contains("auto-ext.service"), "{}", owner());

    // Without the interface it is there again for its clients, and what they pinned is over.
    policy::write(POLICY)?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("kernel")?;
    scxctl("get", 0, "no scx scheduler running")?;
    ensure!(owner().contains("scx_loader.service"), "{}", owner());
    service::say("systemctl stop scx_loader.service")?;
    Ok(())
}
