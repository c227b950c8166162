//! What auto-ext says is what the kernel does.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::load::{self, Load};
use crate::policy::{DEFAULT, FLASH_FOR_HOGS};
use crate::service::{self, Bus};
use crate::{kernel, pinning, policy, wait};

/// As seen by its process: /sys is its business, the kernel's settings are not.
pub(super) fn a_scheduler_cannot_change_what_it_has_no_business_with() -> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    let pid = pinning::start_bpfland(&bus)?.pid()?;
    let writes = |path: &str| {
        // What is there already, so that nothing changes.
        let script = format!("value=$(cat {path}) && echo \"$value\" >{path}");
        let pid = pid.to_string();
        Command::new("nsenter")
            .args(["--mount", "--target", &pid, "sh", "-c", &script])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    for (path, expected) in [
        ("/proc/sys/kernel/sysrq", false),
        ("/proc/sys/vm/swappiness", false),
        ("/proc/sys/vm/compact_unevictable_allowed", true),
        ("/proc/irq/default_smp_affinity", false),
        (
            "/sys/devices/system/cpu/cpu0/power/pm_qos_resume_latency_us",
            true,
        ),
    ] {
        ensure!(writes(path) == expected, "{path}: expected {expected}");
    }
    let trigger = format!("nsenter --mount --target {pid} tee /proc/sysrq-trigger");
    ensure!(!service::output(&trigger)?.status.success());
    service::say("auto-ext pin kernel").map(drop)
}

pub(super) fn the_installed_service_starts_and_says_that_the_kernel_schedules() -> anyhow::Result<()>
{
    DEFAULT.install()?;
    service::say("systemctl enable --now auto-ext.service")?;
    ensure!(service::say("systemctl is-active auto-ext.service")? == "active");
    ensure!(service::busctl("CurrentScheduler")? == "s \"kernel\"");
    ensure!(service::busctl("CurrentOwner")? == "s \"none\"");
    ensure!(service::busctl("SchedulerPid")? == "u 0");
    ensure!(kernel::scheduler() == "kernel");
    let introspection = service::say(
        "busctl introspect org.autoext.AutoExt1 /org/autoext/AutoExt1 org.autoext.AutoExt1",
    )?;
    for member in [
        "CurrentScheduler",
        "CurrentOwner",
        "SchedulerPid",
        "DesiredScheduler",
        "Mode",
        "Class",
        "Levels",
        "Signals",
        "Reason",
        "Since",
        "Switches",
        "Quarantined",
        "LastError",
        "Version",
        "SchedulerSwitched",
        "Pin",
        "Unpin",
        "Hold",
        "Release",
        "Reload",
        "History",
        "Why",
        "Forgive",
        "ResetFailed",
        "Metrics",
    ] {
        ensure!(
            introspection.contains(&format!(".{member} ")),
            "no {member} in {introspection}"
        );
    }
    let status = service::say("auto-ext status")?;
    ensure!(status.starts_with("Scheduler   kernel\n"), "{status}");
    Ok(())
}

pub(super) fn d_bus_says_what_the_kernel_says_when_a_scheduler_is_killed() -> anyhow::Result<()> {
    policy::write("version: 1\nrules: [{class: idle, use: [flash, kernel]}]\n")?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("scheduler", &"scx_flash".to_owned(), kernel::scheduler)?;
    wait::until("owner", &"auto-ext".to_owned(), || {
        bus.string("CurrentOwner")
    })?;
    let pid = i32::try_from(bus.number("SchedulerPid")?)?;
    kill(Pid::from_raw(pid), Signal::SIGKILL).context("the scheduler cannot be killed")?;
    // The kernel needs a moment; whenever it is the same before and after the question, that must
    // have been the answer.
    let mut compared = 0;
    for _ in 0..12 {
        let before = kernel::scheduler();
        let answer = service::busctl("CurrentScheduler")?;
        if kernel::scheduler() == before {
            compared += 1;
            ensure!(
                answer == format!("s \"{before}\""),
                "the kernel runs {before}, D-Bus says {answer}"
            );
        }
    }
    ensure!(compared > 4, "the kernel was not the same twice");
    wait::until("scheduler", &"kernel".to_owned(), kernel::scheduler)?;
    let quarantined = service::busctl("Quarantined")?;
    ensure!(quarantined.contains("flash"), "{quarantined}");
    let error = bus.string("LastError");
    ensure!(error.contains("flash: was killed by SIGKILL"), "{error}");
    // Not loaded again at once.
    ensure!(bus.string("DesiredScheduler") == "kernel");
    Ok(())
}

pub(super) fn every_switch_is_announced() -> anyhow::Result<()> {
    FLASH_FOR_HOGS.install()?;
    service::restart()?;
    let heard = fs::File::create("/tmp/heard")?;
    let mut monitor = Command::new("busctl")
        .args(["--json=short", "monitor", "org.autoext.AutoExt1"])
        .stdout(heard)
        .stderr(Stdio::null())
        .spawn()?;
    // It has begun to listen when it hears something; nothing is said while nothing changes.
    let heard = || fs::read_to_string("/tmp/heard").unwrap_or_default();
    wait::until("first message", &false, || {
        let _ = service::say("auto-ext status");
        heard().is_empty()
    })?;
    let load = Load::of_class("cpu").start()?;
    wait::until("scheduler", &"scx_flash".to_owned(), kernel::scheduler)?;
    drop(load);
    wait::until(
        "scheduler after the load",
        &"kernel".to_owned(),
        kernel::scheduler,
    )?;
    let switches = || -> Vec<(String, String)> {
        let arguments = signals(&heard(), "SchedulerSwitched");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        arguments
            .iter()
            .map(|data| (text(&data[0]), text(&data[1])))
            .collect()
    };
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let expected = vec![pair("kernel", "scx_flash"), pair("scx_flash", "kernel")];
    wait::until("announced switches", &expected, switches)?;
    // The journal has it too, in fields.
    let journal = "journalctl --quiet --no-pager --output=cat --unit=auto-ext.service \
                   AUTO_EXT_SCHEDULER=scx_flash AUTO_EXT_CLASS=cpu";
    wait::until("the switch in the journal", &true, || {
        service::say(journal).is_ok_and(|lines| lines.contains("kernel -> scx_flash: class cpu"))
    })?;
    monitor.kill()?;
    monitor.wait()?;
    let schedulers: Vec<Value> = signals(&heard(), "PropertiesChanged")
        .iter()
        .filter_map(|data| data[1].get("CurrentScheduler")?.get("data").cloned())
        .collect();
    ensure!(
        schedulers == ["scx_flash", "kernel"],
        "announced as current: {schedulers:?}"
    );
    Ok(())
}

/// The arguments of every signal of that name that `busctl monitor` printed.
fn signals(heard: &str, name: &str) -> Vec<Value> {
    heard
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["type"] == "signal" && message["member"] == name)
        .map(|message| message["payload"]["data"].clone())
        .collect()
}

pub(super) fn a_foreign_scheduler_is_left_alone_until_it_leaves() -> anyhow::Result<()> {
    // Loading is a load too, which is not to bring another one first.
    policy::write(policy::QUIET)?;
    service::restart()?;
    let bus = Bus::connect()?;
    let mut foreign = load::start("/usr/bin/scx_bpfland")?;
    wait::until("mode", &"yielded".to_owned(), || bus.string("Mode"))?;
    FLASH_FOR_HOGS.install()?;
    ensure!(bus.string("CurrentScheduler") == "scx_bpfland");
    ensure!(bus.string("CurrentOwner") == "foreign");
    ensure!(bus.number("SchedulerPid")? == 0);
    let enabled = kernel::enable_seq();
    let hogs = Load::of_class("cpu").start()?;
    wait::until("class", &"cpu".to_owned(), || bus.string("Class"))?;
    wait::until("desired", &"scx_flash".to_owned(), || {
        bus.string("DesiredScheduler")
    })?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    ensure!(
        !foreign.has_ended() && kernel::enable_seq() == enabled,
        "the foreign scheduler is gone"
    );
    ensure!(kernel::scheduler() == "scx_bpfland");
    drop(foreign);
    wait::until(
        "scheduler after the foreign one left",
        &"scx_flash".to_owned(),
        kernel::scheduler,
    )?;
    drop(hogs);
    Ok(())
}

pub(super) fn stopping_leaves_nothing_behind() -> anyhow::Result<()> {
    FLASH_FOR_HOGS.install()?;
    service::restart()?;
    let _load = Load::of_class("cpu").start()?;
    wait::until("scheduler", &"scx_flash".to_owned(), kernel::scheduler)?;
    service::say("systemctl stop --no-block auto-ext.service")?;
    let kernel_again = wait::until("state", &"disabled".to_owned(), kernel::state)?;
    eprintln!("\n  the kernel's scheduler {kernel_again:.1?} after systemctl stop");
    // Waits for the rest.
    service::stop()?;
    let left = service::processes()?;
    ensure!(left.is_empty(), "left: {left:?}");
    let result = service::say("systemctl show --property=Result --value auto-ext.service")?;
    ensure!(result == "success", "systemd says {result}");
    Ok(())
}
