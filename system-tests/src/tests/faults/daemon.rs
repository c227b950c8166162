//! The daemon's own end, at every step of a swap: killed, stopped, asked to leave.

use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::ensure;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::drop_in::DropIn;
use crate::leftovers;
use crate::service::{self, Bus};
use crate::{kernel, pinning, wait};

const CGROUP: &str = "/sys/fs/cgroup/system.slice/auto-ext.service";

/// A step of the swap from scx_bpfland to scx_cosmos, and how to get there.
struct Step {
    what: &'static str,
    /// Begins with the pin under way.
    reach: fn(old: Pid) -> anyhow::Result<()>,
}

const STEPS: [Step; 4] = [
    Step {
        what: "loading",
        reach: |_| {
            let new = pinning::loading("scx_cosmos")?;
            // What is stopped does not get any further meanwhile.
            pinning::send(Signal::SIGSTOP, new)
        },
    },
    Step {
        what: "at the door",
        reach: |old| {
            // The new one waits for the old one, which does not hear that it is to leave.
            pinning::send(Signal::SIGSTOP, old)?;
            quickly("door", || {
                pinning::processes("scx_cosmos").iter().any(|new| {
                    let waits_in = fs::read_to_string(format!("/proc/{new}/wchan"));
                    waits_in.is_ok_and(|name| name.contains("seccomp"))
                }) && signal_is_pending(old)
            })
        },
    },
    Step {
        what: "attaching",
        reach: |_| quickly("attaching", || kernel::state() == "enabling"),
    },
    Step {
        what: "attached",
        reach: |_| quickly("attached", || kernel::scheduler() == "scx_cosmos"),
    },
];

pub(in crate::tests) fn a_daemon_that_is_killed_at_any_step_of_a_swap_leaves_a_sane_machine()
-> anyhow::Result<()> {
    let _soon = DropIn::install("RestartSec=200ms")?;
    eprintln!();
    for step in &STEPS {
        let daemon = reach(step)?;
        let begun = Instant::now();
        pinning::send(Signal::SIGKILL, daemon)?;
        wait::until(step.what, &"disabled".to_owned(), kernel::state)?;
        let kernels_own = begun.elapsed();
        let bus = next_daemon(daemon)?;
        eprintln!(
            "  {}: the kernel's own after {kernels_own:.1?}, the next daemon after {:.1?}",
            step.what,
            begun.elapsed()
        );
        is_clear(step.what, &bus)?;
    }
    super::switches_there_and_back(&Bus::connect()?)
}

pub(in crate::tests) fn a_daemon_that_is_asked_to_leave_at_any_step_of_a_swap_leaves_nothing()
-> anyhow::Result<()> {
    eprintln!();
    for step in &STEPS {
        let daemon = reach(step)?;
        let begun = Instant::now();
        pinning::send(Signal::SIGTERM, daemon)?;
        wait::until(step.what, &"inactive".to_owned(), || {
            service::output("systemctl is-active auto-ext.service")
                .map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
                .unwrap_or_default()
        })?;
        eprintln!("  {}: stopped after {:.1?}", step.what, begun.elapsed());
        ensure!(kernel::state() == "disabled", "{}", kernel::state());
        ensure!(
            leftovers::schedulers().is_empty(),
            "{}: {:?}",
            step.what,
            leftovers::schedulers()
        );
    }
    Ok(())
}

pub(in crate::tests) fn a_daemon_that_hangs_is_replaced_by_another() -> anyhow::Result<()> {
    let _soon = DropIn::install("WatchdogSec=3s\nRestartSec=200ms")?;
    let bus = pinning::start_with("")?;
    pinning::seat_bpfland(&bus)?;
    let daemon = Pid::from_raw(i32::try_from(pinning::daemon()?)?);
    // One that works is left alone, though the limit is far below the usual one.
    sleep(Duration::from_secs(4));
    ensure!(service::process()? == daemon.to_string());
    pinning::send(Signal::SIGSTOP, daemon)?;
    let begun = Instant::now();
    wait::until("state", &"disabled".to_owned(), kernel::state)?;
    let bus = next_daemon(daemon)?;
    eprintln!("\n  another daemon after {:.1?}", begun.elapsed());
    is_clear("hung", &bus)
}

/// Starts a swap and goes to that step of it; returns the daemon.
fn reach(step: &Step) -> anyhow::Result<Pid> {
    let bus = pinning::start_with("")?;
    let old = pinning::seat_bpfland(&bus)?.pid()?;
    let daemon = Pid::from_raw(i32::try_from(pinning::daemon()?)?);
    pinning::ask("cosmos")?;
    (step.reach)(old)?;
    Ok(daemon)
}

/// Waits for the daemon after `last`.
fn next_daemon(last: Pid) -> anyhow::Result<Bus> {
    wait::until("another daemon", &true, || {
        service::process().is_ok_and(|now| now != last.to_string() && now != "0")
    })?;
    let bus = Bus::connect()?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    Ok(bus)
}

/// Checks that nothing of the last daemon is left.
fn is_clear(what: &str, bus: &Bus) -> anyhow::Result<()> {
    super::says_what_the_kernel_says(what, bus)?;
    ensure!(kernel::state() == "disabled", "{what}: {}", kernel::state());
    let left = leftovers::schedulers();
    ensure!(left.is_empty(), "{what}: {left:?}");
    let cgroups: Vec<_> = fs::read_dir(CGROUP)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .filter(|name: &io::Result<String>| {
            name.as_ref()
                .is_ok_and(|name| name.starts_with("scheduler-"))
        })
        .collect::<Result<_, _>>()?;
    ensure!(cgroups.is_empty(), "{what}: {cgroups:?}");
    Ok(())
}

/// Whether a process was sent a signal that it has not taken.
fn signal_is_pending(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.is_some_and(|set| set.trim().contains(|digit| digit != '0'))
    };
    pending("ShdPnd:") || pending("SigPnd:")
}

/// Waits for what lasts only for a moment.
fn quickly(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition() {
        ensure!(begun.elapsed() < wait::HANG, "{what}: not reached");
        std::thread::yield_now();
    }
    Ok(())
}
