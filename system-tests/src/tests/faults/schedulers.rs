//! Schedulers that crash, are killed, stall, leak, fork, spin or will not leave.

use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::ensure;
use nix::sys::signal::Signal;

use super::Ground;
use crate::load::Load;
use crate::pinning::{self, ActiveScheduler};
use crate::service::{self, Bus};
use crate::{broken, kernel, process, wait};

/// How long it is watched that nothing comes of it.
const WATCHED: Duration = Duration::from_secs(1);

/// A scheduler that ends though nobody wants it to.
struct Fault {
    what: &'static str,
    /// What is pinned.
    name: &'static str,
    provoke: fn(&ActiveScheduler) -> anyhow::Result<()>,
    /// What `LastError` must then have.
    said: &'static str,
}

fn by_itself(_: &ActiveScheduler) -> anyhow::Result<()> {
    Ok(())
}

const FAULTS: [Fault; 7] = [
    Fault {
        what: "it is killed",
        name: "bpfland",
        provoke: |active| pinning::send(Signal::SIGKILL, active.pid()?),
        said: "bpfland: ",
    },
    Fault {
        what: "it crashes",
        name: "cosmos",
        provoke: |active| pinning::send(Signal::SIGABRT, active.pid()?),
        said: "cosmos: ",
    },
    Fault {
        what: "somebody else asks it to leave",
        name: "flash",
        provoke: |active| pinning::send(Signal::SIGINT, active.pid()?),
        said: "flash: ",
    },
    Fault {
        what: "SysRq-S",
        name: "beerland",
        provoke: |_| {
            fs::write("/proc/sys/kernel/sysrq", "1")?;
            Ok(fs::write("/proc/sysrq-trigger", "S")?)
        },
        said: "beerland: ",
    },
    Fault {
        what: "it eats memory without end",
        name: "leaking",
        provoke: by_itself,
        said: "memory",
    },
    Fault {
        what: "it forgets tasks, and the kernel's watchdog ends it",
        name: "stalling",
        provoke: by_itself,
        said: "stall",
    },
    Fault {
        what: "a script in its place ends and leaves it behind",
        name: "leaving",
        provoke: by_itself,
        said: "leaving: ",
    },
];

pub(in crate::tests) fn a_scheduler_that_ends_leaves_the_kernels_own_and_is_not_loaded_again()
-> anyhow::Result<()> {
    let leaking = "#!/bin/sh\n(sleep 2; exec tail /dev/zero) &\nexec scx_cosmos\n";
    let leaking = broken::wrapped_cosmos("leaking", leaking)?;
    let leaving = "#!/bin/sh\nsetsid scx_cosmos &\nsleep 5\nexit 3\n";
    let leaving = broken::wrapped_cosmos("leaving", leaving)?;
    let stalling = broken::stalling()?;
    let bus = pinning::start_with(&format!(
        "leaking: {{command: {leaking}}}, leaving: {{command: {leaving}}}, \
         stalling: {{command: {stalling}}}"
    ))?;
    let ground = Ground::at_rest(bus)?;
    eprintln!();
    for fault in &FAULTS {
        survives(fault, &ground)?;
    }
    ground.works()
}

fn survives(fault: &Fault, ground: &Ground) -> anyhow::Result<()> {
    let Fault { what, name, .. } = fault;
    let bus = &ground.bus;
    let before = kernel::enable_seq();
    // One that forgets tasks may forget this one.
    service::output(&format!("auto-ext pin {name}"))?;
    ensure!(kernel::enable_seq() > before, "{what}: it never ran");
    let active = ActiveScheduler::now(bus)?;
    // Some need somebody whom they can forget.
    let _hogs = Load::of_class("cpu").start()?;
    (fault.provoke)(&active)?;
    let ended = wait_quickly(what, || kernel::state() != "enabled")?;
    wait_quickly(what, || {
        kernel::state() == "disabled" && bus.string("LastError").contains(fault.said)
    })?;
    let reaction = ended.elapsed();
    let error = bus.string("LastError");
    eprintln!("  {what}: the kernel's own after {reaction:.1?}; {error}");
    ground.is_as_before(what)?;
    // Not loaded again at once, though it is still pinned.
    thread::sleep(WATCHED);
    ensure!(
        kernel::enable_seq() == active.enabled && bus.string("DesiredScheduler") == "kernel",
        "{what}: {}",
        bus.string("Reason")
    );
    Ok(())
}

/// Waits without pauses that would be measured, and returns when it became true.
fn wait_quickly(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<Instant> {
    let begun = Instant::now();
    while !condition() {
        ensure!(begun.elapsed() < wait::HANG, "{what}: nothing comes of it");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(Instant::now())
}

pub(in crate::tests) fn a_scheduler_that_will_not_leave_is_killed_once_the_next_is_loaded()
-> anyhow::Result<()> {
    let deaf = "#!/bin/sh\nexec env --block-signal=INT,TERM,HUP scx_cosmos\n";
    let deaf = broken::wrapped_cosmos("deaf", deaf)?;
    let forking =
        "#!/bin/sh\n(while :; do setsid sleep 1000 & sleep 0.01; done) &\nexec scx_cosmos\n";
    let forking = broken::wrapped_cosmos("forking", forking)?;
    let bus = pinning::start_with(&format!(
        "deaf: {{command: {deaf}}}, forking: {{command: {forking}}}"
    ))?;
    let ground = Ground::at_rest(bus)?;
    eprintln!();
    for name in ["deaf", "forking"] {
        service::say(&format!("auto-ext pin {name}"))?;
        let active = ActiveScheduler::now(&ground.bus)?;
        let begun = Instant::now();
        service::say("auto-ext pin bpfland")?;
        let last = &service::history(1)?[0];
        eprintln!(
            "  {name}: left after {:.1?}, {} us without a scheduler",
            begun.elapsed(),
            last["gap_us"]
        );
        let next = ActiveScheduler::now(&ground.bus)?;
        ensure!(
            kernel::scheduler() == "scx_bpfland" && next.enabled == active.enabled + 1,
            "{name}: {active:?} became {next:?}"
        );
        service::say("auto-ext pin kernel")?;
        ground.is_as_before(name)?;
    }
    ground.works()
}

/// The share of a CPU that the daemon may take meanwhile, in an emulated machine: far less than the whole that it would take.
const LITTLE: f64 = 0.5;

pub(in crate::tests) fn one_that_writes_without_end_costs_little_and_is_heard_to_the_end()
-> anyhow::Result<()> {
    // It ends by itself once it is asked to, and says why last of all.
    let flooding = "#!/bin/sh\nyes 'all is well' &\nwriter=$!\nscx_cosmos >/dev/null 2>&1 &\n\
                    until [ -e /run/enough ]; do sleep 0.1; done\n\
                    kill $writer; echo 'Error: the very end' >&2; exit 3\n";
    let flooding = broken::wrapped_cosmos("flooding", flooding)?;
    let bus = pinning::start_with(&format!("flooding: {{command: {flooding}}}"))?;
    let ground = Ground::at_rest(bus)?;
    service::say("auto-ext pin flooding")?;
    let (used, begun) = (process::cpu_time(ground.daemon())?, Instant::now());
    thread::sleep(5 * WATCHED);
    let used = process::cpu_time(ground.daemon())? - used;
    let share = used / begun.elapsed().as_secs_f64();
    eprintln!("\n  the daemon used {:.1} % of a CPU", 100.0 * share);
    ensure!(share < LITTLE, "{share}");
    fs::write("/run/enough", "")?;
    wait::until("last error", &true, || {
        ground.bus.string("LastError").contains("the very end")
    })?;
    fs::remove_file("/run/enough")?;
    let journal = ground.journal()?;
    ensure!(journal.contains("writes without end"), "{journal}");
    ensure!(journal.contains("bytes were left out"), "{journal}");
    ensure!(journal.lines().count() < 100, "{journal}");
    ground.is_as_before("flooding")?;
    ground.works()
}

pub(in crate::tests) fn a_scheduler_that_is_stopped_or_spins_does_no_harm() -> anyhow::Result<()> {
    let spinning = "#!/bin/sh\n(while :; do :; done) &\nexec scx_cosmos\n";
    let spinning = broken::wrapped_cosmos("spinning", spinning)?;
    let bus = pinning::start_with(&format!("spinning: {{command: {spinning}}}"))?;
    let ground = Ground::at_rest(bus)?;
    is_only_stopped(&ground.bus)?;
    service::say("auto-ext pin kernel")?;
    ground.is_as_before("stopped")?;
    service::say("auto-ext pin spinning")?;
    let begun = Instant::now();
    wait::until("state", &"disabled".to_owned(), kernel::state)?;
    eprintln!("\n  one that spins is ended after {:.1?}", begun.elapsed());
    wait::until("last error", &true, || {
        ground.bus.string("LastError").contains("used a whole CPU")
    })?;
    ground.is_as_before("spinning")?;
    ground.works()
}

/// The BPF programs schedule, whatever their process does: it is reported as it is.
fn is_only_stopped(bus: &Bus) -> anyhow::Result<()> {
    let active = pinning::start_bpfland(bus)?;
    pinning::send(Signal::SIGSTOP, active.pid()?)?;
    thread::sleep(Duration::from_secs(2));
    let after = ActiveScheduler::now(bus)?;
    ensure!(after == active, "{active:?} became {after:?}");
    super::says_what_the_kernel_says("stopped", bus)
}
