//! scx_loader, which runs schedulers for whoever asks it over D-Bus, and is started by being asked.

use std::time::Duration;

use anyhow::ensure;

use super::faults::{game, with_a_game};
use crate::policy;
use crate::scx_loader::Loader;
use crate::service::{self, Bus};
use crate::{kernel, wait};

/// How long auto-ext starts nothing after somebody else's scheduler left, less what a slow
/// machine adds between the two looks.
const LEFT_EMPTY: Duration = Duration::from_secs(13);

/// What systemd says of the loader's service.
fn loader_state() -> anyhow::Result<String> {
    service::say("systemctl show --property=ActiveState --value scx_loader.service")
}

pub(super) fn scx_loader_is_not_woken() -> anyhow::Result<()> {
    policy::write(policy::QUIET)?;
    let activatable = service::say("busctl list --activatable --no-legend")?;
    ensure!(
        activatable.contains("org.scx.Loader"),
        "D-Bus would not start it: {activatable}"
    );
    service::restart()?;
    for command in [
        "auto-ext status",
        "auto-ext why",
        "auto-ext schedulers",
        "auto-ext pin kernel",
        "auto-ext unpin",
    ] {
        service::say(command)?;
    }
    let doctor = service::output("auto-ext doctor")?;
    let findings = String::from_utf8_lossy(&doctor.stdout);
    ensure!(!findings.contains("scx_loader runs"), "{findings}");
    let state = loader_state()?;
    ensure!(state == "inactive", "scx_loader is {state}");
    Ok(())
}

pub(super) fn what_scx_loader_runs_is_left_alone_until_it_is_stopped() -> anyhow::Result<()> {
    let bus = with_a_game()?;
    let mut loader = Loader::start()?;
    // The loader alone is no reason to step back.
    ensure!(bus.string("Mode") == "auto", "{}", bus.string("Mode"));

    loader.switch_to("bpfland")?;
    wait::until("mode", &"yielded".to_owned(), || bus.string("Mode"))?;
    ensure!(bus.string("CurrentScheduler") == "scx_bpfland");
    ensure!(bus.string("CurrentOwner") == "foreign");
    let doctor = service::output("auto-ext doctor")?;
    let findings = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(
        findings.contains("scx_loader runs") && findings.contains("systemctl stop scx_loader"),
        "{findings}"
    );
    ensure!(
        findings.contains("scx_bpfland was not started by auto-ext"),
        "{findings}"
    );

    let enabled = kernel::enable_seq();
    let game = game()?;
    wait::until("desired", &"scx_cosmos".to_owned(), || {
        bus.string("DesiredScheduler")
    })?;
    // It switches by stopping one and starting the other; nothing is started in between.
    loader.switch_to("flash")?;
    wait::until("scheduler", &"scx_flash".to_owned(), kernel::scheduler)?;
    wait::until("owner", &"foreign".to_owned(), || {
        bus.string("CurrentOwner")
    })?;
    ensure!(
        kernel::enable_seq() == enabled + 1 && bus.string("Mode") == "yielded",
        "{} schedulers were enabled, mode {}",
        kernel::enable_seq() - enabled,
        bus.string("Mode")
    );

    loader.switch_to("kernel")?;
    wait::until("scheduler", &"kernel".to_owned(), kernel::scheduler)?;
    let taken = wait::until("scheduler", &"scx_cosmos".to_owned(), kernel::scheduler)?;
    eprintln!("\n  taken over {taken:.1?} after `scxctl stop`");
    ensure!(taken > LEFT_EMPTY, "taken over after {taken:?}");
    ensure!(bus.string("CurrentOwner") == "auto-ext");
    ensure!(loader_state()? == "active", "the loader was stopped");
    drop(game);
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}

pub(super) fn a_pin_takes_over_from_scx_loader() -> anyhow::Result<()> {
    policy::write(policy::QUIET)?;
    service::restart()?;
    let bus = Bus::connect()?;
    let mut loader = Loader::start()?;
    loader.switch_to("bpfland")?;
    wait::until("mode", &"yielded".to_owned(), || bus.string("Mode"))?;
    let said = service::say("auto-ext pin cosmos")?;
    ensure!(said.starts_with("scx_cosmos runs now"), "{said}");
    ensure!(kernel::scheduler() == "scx_cosmos" && bus.string("CurrentOwner") == "auto-ext");
    // It would bring its own back, and so was stopped, as a service.
    let state = loader_state()?;
    ensure!(state == "inactive", "scx_loader is {state}");
    service::say("auto-ext unpin")?;
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}
