//! Schedulers that somebody else runs, and the daemon's own violent end.

use std::fs;

use anyhow::ensure;

use crate::load::Load;
use crate::policy::{self, FLASH_FOR_HOGS};
use crate::service::{self, Bus};
use crate::{kernel, wait};

pub(super) fn a_pin_takes_the_place_of_a_foreign_scheduler() -> anyhow::Result<()> {
    policy::write(policy::QUIET)?;
    service::restart()?;
    let bus = Bus::connect()?;
    service::say("systemd-run --unit=by-hand --collect --quiet /usr/bin/scx_bpfland")?;
    wait::until("mode", &"yielded".to_owned(), || bus.string("Mode"))?;
    let enabled = kernel::enable_seq();
    service::say("auto-ext pin flash")?;
    ensure!(kernel::scheduler() == "scx_flash");
    ensure!(bus.string("CurrentOwner") == "auto-ext" && bus.string("Mode") == "pinned");
    wait::until("enabled", &(enabled + 1), kernel::enable_seq)?;
    // A service that brings its scheduler back is stopped as one.
    service::say("auto-ext pin kernel")?;
    fs::write(
        "/run/systemd/system/scx.service",
        "[Service]\nExecStart=/usr/bin/scx_bpfland\nRestart=always\n",
    )?;
    service::say("systemctl daemon-reload")?;
    service::say("auto-ext unpin")?;
    service::say("systemctl start scx.service")?;
    wait::until("owner", &"foreign".to_owned(), || {
        bus.string("CurrentOwner")
    })?;
    service::say("auto-ext pin cosmos")?;
    ensure!(kernel::scheduler() == "scx_cosmos");
    wait::until("scx.service", &"inactive".to_owned(), || {
        service::output("systemctl is-active scx.service")
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    })?;
    fs::remove_file("/run/systemd/system/scx.service")?;
    service::say("systemctl daemon-reload")?;
    service::say("auto-ext unpin")?;
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}

pub(super) fn a_policy_may_say_that_foreign_schedulers_are_replaced() -> anyhow::Result<()> {
    policy::write(
        "version: 1\nforeign: replace\nrules:\n  - {class: cpu, when: {cpu: high}, use: [scx_cosmos]}\n  \
         - {class: idle, use: [kernel]}\nstability: {min_run: 1s, max_switches_per_hour: 100}\n",
    )?;
    service::restart()?;
    let bus = Bus::connect()?;
    let before = kernel::enable_seq();
    service::say("systemd-run --unit=by-hand --collect --quiet /usr/bin/scx_bpfland")?;
    wait::until(
        "the foreign one asked to leave",
        &"inactive".to_owned(),
        || {
            let seen = kernel::enable_seq() > before;
            let active = service::output("systemctl is-active by-hand.service");
            match active {
                Ok(output) if seen => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
                _ => String::new(),
            }
        },
    )?;
    ensure!(bus.string("Mode") == "auto", "{}", bus.string("Mode"));
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}

pub(super) fn a_daemon_that_is_killed_takes_its_scheduler_along_and_comes_back()
-> anyhow::Result<()> {
    FLASH_FOR_HOGS.install()?;
    service::restart()?;
    let _hogs = Load::of_class("cpu").start()?;
    wait::until("scheduler", &"scx_flash".to_owned(), kernel::scheduler)?;
    let daemon = service::say("systemctl show --property=MainPID --value auto-ext.service")?;
    service::say(&format!("kill -KILL {daemon}"))?;
    let kernel_again = wait::until("state", &"disabled".to_owned(), kernel::state)?;
    eprintln!("\n  the kernel's scheduler {kernel_again:.1?} after kill -9 of the daemon");
    wait::until("the scheduler's process", &false, || {
        service::output("pgrep -x scx_flash").is_ok_and(|output| output.status.success())
    })?;
    wait::until(
        "scheduler of the next daemon",
        &"scx_flash".to_owned(),
        kernel::scheduler,
    )?;
    let latency =
        fs::read_to_string("/sys/devices/system/cpu/cpu0/power/pm_qos_resume_latency_us")?;
    ensure!(latency.trim() == "32", "flash asks for 32, not {latency}");
    let security = service::say("systemd-analyze security --no-pager auto-ext.service")?;
    let exposure = security.lines().last().and_then(|line| {
        line.split_whitespace()
            .find_map(|word| word.parse::<f64>().ok())
    });
    ensure!(
        exposure.is_some_and(|exposure| exposure < 5.0),
        "{exposure:?}"
    );
    let cgroups = service::say("systemd-cgls --no-pager /system.slice/auto-ext.service")?;
    ensure!(
        cgroups.contains("scheduler-") && cgroups.contains("daemon"),
        "{cgroups}"
    );
    Ok(())
}
