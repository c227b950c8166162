//! The last part of a soak: trials are on, and whoever comes in the middle of a candidate's turn, by chance in what and when, ends them.
//! Each time nothing of the trial may be left, and nothing may be proven: a disturbed trial says too little for that, whether what is
//! tried is like any other, equal to the kernel's own, or so bad that a guard ends it.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::trials::{
    Load, POLICY, TABLE, begin, is_over, is_tried, records, tell_the_noise, trial,
};
use crate::leftovers::Leftovers;
use crate::service::{self, Bus};
use crate::{kernel, load, pinning, policy, wait};

const CPU: &str = "/sys/devices/system/cpu/cpu2/online";
/// How long a turn lasts, with the time in which the machine settles, in milliseconds.
const TURN_MS: u64 = 8000;

/// What is tried: any; one that schedules nothing but what asks for it, which is nobody; one that injects idle.
const CHALLENGERS: [&str; 3] = ["any", "equal", "throttled"];
const SCHEDULERS: &str = "schedulers:\n  any: {command: scx_flash}\n  equal: {command: scx_rusty, args: [--partial]}\n  \
    throttled: {command: scx_bpfland, args: [--throttle-us, '100000']}\n";

/// What comes in the middle of a turn, and how it goes again.
type Disturbance = (&'static str, fn() -> anyhow::Result<()>);

const DISTURBANCES: [Disturbance; 9] = [
    ("pin", pin_and_unpin),
    ("hold", hold),
    ("scheduler killed", kill_scheduler),
    ("SysRq-S", sysrq),
    ("edit", edit),
    ("CPU gone and back", cpu),
    ("consent taken back", take_consent_back),
    ("daemon killed", kill_daemon),
    ("nobody", has_ended),
];

/// Soaks until it has lasted for this long.
pub(super) fn soak(random: &mut fastrand::Rng, lasts: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    begin(POLICY)?;
    let running = Load::begin()?;
    service::say("auto-ext learn --now 30m")?;
    wait::until("a record of the noise", &true, || {
        let mut records = records().into_iter();
        records.any(|record| record["pairs"].as_u64() > Some(0))
    })?;
    service::stop()?;
    tell_the_noise()?;
    let quiet = fs::read(TABLE)?;
    let mut turns = 0;
    while turns == 0 || begun.elapsed() < lasts {
        let (what, disturb) = DISTURBANCES[random.usize(..DISTURBANCES.len())];
        let challenger = CHALLENGERS[random.usize(..CHALLENGERS.len())];
        turns += 1;
        let at = begun.elapsed().as_secs();
        eprintln!("{at:>5} s  trial {turns} of {challenger}: {what}");
        // Of the day before nothing is known any more but the noise: who failed may be tried again.
        service::stop()?;
        fs::write(TABLE, &quiet)?;
        policy::write(&(POLICY.replace("scx_flash", challenger) + SCHEDULERS))?;
        service::say("systemctl reset-failed auto-ext.service").ok();
        service::say("systemctl start auto-ext.service")?;
        let before = at_rest()?;
        service::say(&format!("auto-ext schedulers --reset-failed {challenger}"))?;
        disturbed(random, disturb, before).with_context(|| format!("trial {turns}, {what}"))?;
    }
    drop(running);
    service::say("auto-ext learn off")?;
    wait::until("a trial that goes on", &false, is_tried)?;
    is_over(at_rest()?)?;
    begin(policy::QUIET)?;
    eprintln!("{turns} trials were disturbed");
    Ok(())
}

/// Waits for the turn of a candidate, disturbs it at some moment, and looks at what is left.
fn disturbed(
    random: &mut fastrand::Rng,
    disturb: fn() -> anyhow::Result<()>,
    before: [usize; 4],
) -> anyhow::Result<()> {
    wait::until("a candidate that runs", &true, || {
        let trial = trial();
        let candidate = trial["candidate"].as_str().unwrap_or_default();
        !candidate.is_empty() && trial["runs"] == candidate && kernel::state() == "enabled"
    })
    .with_context(|| service::say("auto-ext why --json").unwrap_or_default())?;
    sleep(Duration::from_millis(random.u64(..TURN_MS)));
    disturb()?;
    nothing_is_proven()?;
    is_over(before)
}

/// How much there is in the kernel while nothing is tried.
fn at_rest() -> anyhow::Result<[usize; 4]> {
    let bus = Bus::connect()?;
    wait::until("daemon on the bus", &true, || {
        bus.number("Switches").is_ok()
    })?;
    Ok(Leftovers::at_rest()?.bpf_objects())
}

/// Nothing is said to be better: the table has but the noise before each trial, one trial has fewer pairs than that takes, and it takes two.
fn nothing_is_proven() -> anyhow::Result<()> {
    for record in records() {
        ensure!(record["proven"].is_null(), "{record}");
    }
    Ok(())
}

fn has_ended() -> anyhow::Result<()> {
    wait::until("a trial that goes on", &false, is_tried).map(drop)
}

fn pin_and_unpin() -> anyhow::Result<()> {
    service::say("auto-ext pin kernel")?;
    has_ended()?;
    service::say("auto-ext unpin").map(drop)
}

fn hold() -> anyhow::Result<()> {
    let held = load::start("auto-ext hold -- sleep 1000")?;
    has_ended()?;
    drop(held);
    Ok(())
}

fn kill_scheduler() -> anyhow::Result<()> {
    let pid = Bus::connect()?.number("SchedulerPid")?;
    // Its turn may just have ended.
    if pid > 0 {
        let _ = nix::sys::signal::kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL);
        has_ended()?;
    }
    service::say("auto-ext pin kernel")?;
    service::say("auto-ext unpin").map(drop)
}

fn sysrq() -> anyhow::Result<()> {
    fs::write("/proc/sys/kernel/sysrq", "1")?;
    fs::write("/proc/sysrq-trigger", "S")?;
    service::say("auto-ext pin kernel")?;
    has_ended()?;
    service::say("auto-ext unpin")?;
    // Out of the safe mode.
    service::output("auto-ext reload").map(drop)
}

fn edit() -> anyhow::Result<()> {
    let before = policy::read()?;
    policy::write(&before.replace("arm: 5s", "arm: 6s"))?;
    has_ended()?;
    policy::write(&before)
}

fn cpu() -> anyhow::Result<()> {
    fs::write(CPU, "0")?;
    let ended = has_ended();
    fs::write(CPU, "1")?;
    ended
}

fn take_consent_back() -> anyhow::Result<()> {
    service::say("auto-ext learn off")?;
    has_ended()?;
    service::say("auto-ext learn --now 30m").map(drop)
}

fn kill_daemon() -> anyhow::Result<()> {
    let daemon = pinning::daemon()?;
    pinning::send(Signal::SIGKILL, Pid::from_raw(i32::try_from(daemon)?))?;
    wait::until("another daemon", &true, || {
        pinning::daemon().is_ok_and(|now| now != daemon)
    })?;
    at_rest().map(drop)
}
