//! What happens while a scheduler loads: another decision, another death, the end of the service.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::leftovers;
use crate::pinning::{self, ActiveScheduler, Pinning};
use crate::service::{self, Bus};
use crate::{kernel, stall, wait};

pub(super) fn a_changed_decision_ends_what_is_loading() -> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    let before = pinning::start_bpfland(&bus)?;
    pinning::ask("lavd")?;
    pinning::loading("scx_lavd")?;
    service::say("auto-ext pin cosmos")?;
    let after = ActiveScheduler::now(&bus)?;
    ensure!(
        kernel::scheduler() == "scx_cosmos" && after.enabled == before.enabled + 1,
        "{before:?} became {after:?}"
    );
    ensure!(
        leftovers::schedulers() == ["scx_cosmos"],
        "{:?}",
        leftovers::schedulers()
    );
    ensure!(
        bus.string("LastError").is_empty(),
        "{}",
        bus.string("LastError")
    );
    let last = &service::history(1)?[0];
    ensure!(
        is_hot_switch(last, "scx_bpfland", "scx_cosmos"),
        "the history has {last}"
    );
    Ok(())
}

pub(super) fn when_the_old_scheduler_dies_meanwhile_the_new_one_gets_in() -> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    let before = pinning::start_bpfland(&bus)?;
    let pinning = pinning::pin("cosmos")?;
    let loading = pinning::stop_at_start("scx_cosmos")?;
    pinning::send(Signal::SIGKILL, before.pid()?)?;
    wait::until("scheduler", &"kernel".to_owned(), || {
        bus.string("CurrentScheduler")
    })?;
    pinning::send(Signal::SIGCONT, loading)?;
    let output = pinning.output()?;
    ensure!(output.status.success(), "{output:?}");
    let after = ActiveScheduler::now(&bus)?;
    ensure!(
        after.enabled == before.enabled + 1 && after.pid()? == loading,
        "{before:?} became {after:?}"
    );
    ensure!(bus.string("LastError") == "bpfland: was killed by SIGKILL");
    let history = service::history(2)?;
    ensure!(
        history[0]["event"] == "exited"
            && history[0]["from"] == "scx_bpfland"
            && history[0]["error"] == "was killed by SIGKILL"
            && is_hot_switch(&history[1], "scx_bpfland", "scx_cosmos"),
        "{history:?}"
    );
    Ok(())
}

pub(super) fn when_a_cpu_goes_meanwhile_the_new_one_is_loaded_again() -> anyhow::Result<()> {
    stall::begin_anew_after(a_cpu_goes_meanwhile)
}

fn a_cpu_goes_meanwhile() -> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    let before = pinning::start_bpfland(&bus)?;
    let pinning = pinning::pin("cosmos")?;
    let loading = pinning::loading("scx_cosmos")?;
    pinning::send(Signal::SIGSTOP, loading)?;
    let cpu = Offline::take("/sys/devices/system/cpu/cpu3/online")?;
    // The old one loads itself again, too.
    stall::wait_for("schedulers enabled", &bus, || {
        kernel::enable_seq() == before.enabled + 1
    })?;
    pinning::send(Signal::SIGCONT, loading)?;
    let output = pinning.output()?;
    ensure!(output.status.success(), "{output:?}");
    let after = ActiveScheduler::now(&bus)?;
    ensure!(
        after.enabled == before.enabled + 2 && after.pid()? != loading,
        "{before:?} became {after:?}; the process was {loading}"
    );
    let last = &service::history(1)?[0];
    ensure!(
        is_hot_switch(last, "scx_bpfland", "scx_cosmos"),
        "the history has {last}"
    );
    drop(cpu);
    stall::wait_for("schedulers enabled", &bus, || {
        kernel::enable_seq() == after.enabled + 1
    })?;
    ensure!(
        bus.string("LastError").is_empty(),
        "{}",
        bus.string("LastError")
    );
    Ok(())
}

/// A CPU that is gone until this is dropped.
struct Offline(&'static str);

impl Offline {
    fn take(file: &'static str) -> anyhow::Result<Self> {
        fs::write(file, "0").with_context(|| format!("failed to write {file}"))?;
        Ok(Self(file))
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        // The tests that come will miss it if this fails.
        let _ = fs::write(self.0, "1");
    }
}

pub(super) fn an_old_scheduler_that_hangs_is_killed_once_the_new_one_is_loaded()
-> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    let before = pinning::start_bpfland(&bus)?;
    pinning::send(Signal::SIGSTOP, before.pid()?)?;
    service::say("auto-ext pin cosmos")?;
    let after = ActiveScheduler::now(&bus)?;
    ensure!(
        after.enabled == before.enabled + 1 && leftovers::schedulers() == ["scx_cosmos"],
        "{before:?} became {after:?} and {:?}",
        leftovers::schedulers()
    );
    let last = &service::history(1)?[0];
    ensure!(
        is_hot_switch(last, "scx_bpfland", "scx_cosmos"),
        "the history has {last}"
    );
    eprintln!("\n  {} us without a scheduler", last["gap_us"]);
    Ok(())
}

fn is_hot_switch(entry: &Value, from: &str, to: &str) -> bool {
    entry["event"] == "switched"
        && entry["from"] == from
        && entry["to"] == to
        && entry["way"] == "hot"
        && entry["error"] == ""
}

pub(super) fn of_two_requests_at_once_one_is_carried_out() -> anyhow::Result<()> {
    const NAMES: [&str; 3] = ["bpfland", "cosmos", "flash"];
    let bus = pinning::start_with("")?;
    let done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let sampler = scope.spawn(|| most_schedulers_at_once(&done));
        let asked = (0..10).try_for_each(|round: usize| {
            let names = [NAMES[round % 3], NAMES[(round + 1) % 3]];
            one_of(names, &bus)
        });
        done.store(true, Ordering::Relaxed);
        let most = sampler
            .join()
            .map_err(|_| anyhow!("the sampler panicked"))?;
        asked.map(|()| most)
    })?;
    ensure!(most == 2, "{most} processes of schedulers at once");
    Ok(())
}

/// Asks for both at once, and checks that one of them runs.
fn one_of(names: [&str; 2], bus: &Bus) -> anyhow::Result<()> {
    let enabled = kernel::enable_seq();
    let pinnings = [pinning::pin(names[0])?, pinning::pin(names[1])?];
    let outputs = pinnings.map(Pinning::output);
    let runs = kernel::scheduler();
    for (name, output) in names.into_iter().zip(outputs) {
        let output = output?;
        // The one that was overruled may have got in before.
        let overruled = String::from_utf8_lossy(&output.stderr).contains("not pinned any more");
        let as_expected = output.status.success() || (overruled && runs != format!("scx_{name}"));
        ensure!(
            as_expected,
            "{name} of {names:?}: {output:?}, and {runs} runs"
        );
    }
    let active = ActiveScheduler::now(bus)?;
    ensure!(
        names.iter().any(|name| runs == format!("scx_{name}"))
            && active.enabled <= enabled + 1
            && bus.string("CurrentScheduler") == runs
            && bus.string("DesiredScheduler") == runs
            && bus.string("Mode") == "pinned"
            && leftovers::schedulers() == [runs.as_str()],
        "asked for {names:?}, then there is {active:?} and {:?}",
        leftovers::schedulers()
    );
    Ok(())
}

/// How many schedulers' processes there were at the same time, until `done`.
fn most_schedulers_at_once(done: &AtomicBool) -> usize {
    let mut most = 0;
    while !done.load(Ordering::Relaxed) {
        most = most.max(leftovers::schedulers().len());
        thread::sleep(Duration::from_millis(20));
    }
    most
}

pub(super) fn stopping_the_service_while_it_switches_leaves_nothing_behind() -> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    pinning::start_bpfland(&bus)?;
    pinning::ask("lavd")?;
    pinning::loading("scx_lavd")?;
    let asked = Instant::now();
    service::stop()?;
    eprintln!("\n  stopped in {:.1?}", asked.elapsed());
    ensure!(kernel::state() == "disabled", "{}", kernel::state());
    ensure!(
        leftovers::schedulers().is_empty(),
        "{:?}",
        leftovers::schedulers()
    );
    let result = service::say("systemctl show --property=Result --value auto-ext.service")?;
    ensure!(result == "success", "systemd says {result}");
    Ok(())
}
