//! The scheduler of this repository: it serves all, says what it does, and leaves. What can go wrong with it is in
//! `foresight_faults.rs`.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use aya::programs::loaded_programs;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::setpriority_process;
use serde_json::Value;

use crate::pinning::{self, processes};
use crate::{kernel, load, process, service, wait};

pub(super) const NAME: &str = "scx_foresight";
/// Where it is asked here.
pub(super) const SOCKET: &str = "/run/foresight-test/socket";
/// Where it keeps what it learned.
pub(super) const MODEL: &str = "/run/foresight-test/model.json";

/// For how long the kernel lets a task wait under it.
const SUFFERED: Duration = Duration::from_secs(5);
/// How many instructions of one program the verifier looks at, at most: a kernel that follows more paths still takes it.
const VERIFIED: u32 = 5000;

/// It runs without the daemon until this is dropped.
pub(super) struct Scheduler(Child);

impl Scheduler {
    pub(super) fn start(words: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(NAME);
        command.args(["run", "--socket", SOCKET]);
        let child = command
            .args(words.split_whitespace())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let scheduler = Self(child.with_context(|| format!("cannot run {NAME}"))?);
        kernel::runs(NAME)?;
        Ok(scheduler)
    }

    /// Asks it to leave; returns how long that took, and what it said.
    pub(super) fn leave(mut self) -> anyhow::Result<(Duration, String)> {
        let asked = Instant::now();
        pinning::send(Signal::SIGTERM, self.pid()?)?;
        let status = self.0.wait()?;
        let took = asked.elapsed();
        let stderr = self.0.stderr.take().context("no stderr")?;
        let said = std::io::read_to_string(stderr)?;
        ensure!(status.code() == Some(0), "{status}: {said}");
        ensure!(kernel::state() == "disabled", "{}", kernel::state());
        Ok((took, said))
    }
}

impl Scheduler {
    pub(super) fn pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(self.0.id().try_into()?))
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // It is gone already unless a test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A task whose bursts are long and short by turns, which no average can predict.
pub(super) fn start_alternating() -> anyhow::Result<load::Running> {
    let script = "while :; do n=$((n + 1)); i=0; \
                  while [ $i -lt $((n % 2 * 4000 + 200)) ]; do i=$((i + 1)); done; \
                  read -t 0.02 none <> <(:); done";
    load::start_words(&["bash", "-c", script])
}

/// Waits until one of the task's last bursts was predicted by its line: `chosen`, or `used` where lines count.
pub(super) fn wait_for_its_line(pid: u32, how: &str) -> anyhow::Result<()> {
    wait::until("its line", &true, || {
        let why = asked(&format!("why {pid}")).unwrap_or_default();
        let last = why["last"].as_array().cloned().unwrap_or_default();
        why["published"] == true && last.iter().any(|burst| burst[how] == true)
    })
    .map(drop)
}

pub(super) fn asked(question: &str) -> anyhow::Result<Value> {
    let said = service::say(&format!("{NAME} {question} --json --socket {SOCKET}"))?;
    serde_json::from_str(&said).with_context(|| said.clone())
}

/// Many more than there are CPUs.
pub(super) fn start_24_hogs() -> anyhow::Result<load::Running> {
    let hogs = load::start("stress-ng --quiet --cpu 24")?;
    wait::until("hogs", &24, || processes("stress-ng-cpu").len())?;
    Ok(hogs)
}

/// For how long each of them has run, in seconds.
pub(super) fn times_of_hogs() -> anyhow::Result<Vec<f64>> {
    let hogs = processes("stress-ng-cpu").into_iter();
    hogs.map(|hog| process::ran(hog.as_raw().try_into()?))
        .collect()
}

/// For how long each of them runs in the time to come, in seconds.
pub(super) fn hogs_run_in(time: Duration) -> anyhow::Result<Vec<f64>> {
    let before = times_of_hogs()?;
    sleep(time);
    let after = times_of_hogs()?;
    let both = before.iter().zip(after);
    Ok(both.map(|(before, after)| after - before).collect())
}

/// The verifier is far from its limit.
fn programs_are_small() -> anyhow::Result<()> {
    let mut verified = Vec::new();
    for info in loaded_programs() {
        let info = info?;
        let name = info.name_as_str().unwrap_or_default();
        if name.starts_with("foresight_") {
            let count = info.verified_instruction_count();
            verified.push((name.to_owned(), count.context("too old a kernel")?));
        }
    }
    eprintln!("\n  verified instructions: {verified:?}");
    let large = verified.iter().find(|(_, count)| *count > VERIFIED);
    ensure!(!verified.is_empty() && large.is_none(), "{verified:?}");
    Ok(())
}

pub(super) fn with_24_hogs_in_two_llcs_each_gets_its_share_and_it_leaves_when_asked()
-> anyhow::Result<()> {
    service::stop()?;
    for mode in ["baseline", "act"] {
        let scheduler = Scheduler::start(&format!("--mode {mode} --virt-llc 2"))?;
        programs_are_small()?;
        let hogs = start_24_hogs()?;
        let least =
            || times_of_hogs().map_or(0.0, |times| times.into_iter().fold(f64::MAX, f64::min));
        wait::until("every hog ran for a second", &true, || least() >= 1.0)?;
        let most = times_of_hogs()?.into_iter().fold(0.0, f64::max);
        let stats = asked("stats")?;
        eprintln!(
            "\n  {mode}: the least had {:.2} s, the most {most:.2} s; {stats}",
            least()
        );
        ensure!(most < 3.0 * least(), "that is not fair");
        ensure!(
            stats["mode"] == mode && stats["acting"] == (mode == "act"),
            "{stats}"
        );
        ensure!(stats["counted"]["queued"].as_u64() > Some(24), "{stats}");
        ensure!(kernel::scheduler() == NAME);
        drop(hogs);
        let (took, said) = scheduler.leave()?;
        eprintln!("  it left within {took:.1?} and said: {}", said.trim());
        ensure!(said.contains("unregistered from user space"), "{said}");
    }
    Ok(())
}

/// Each hog weighs as much or as little as a task can, by turns: who was light waits for those that are heavy to catch up, in a
/// virtual time that is as slow as they are heavy.
pub(super) fn however_heavy_others_are_nobody_waits_for_as_long_as_the_kernel_suffers()
-> anyhow::Result<()> {
    service::stop()?;
    let scheduler = Scheduler::start("--mode baseline --virt-llc 2")?;
    let hogs = start_24_hogs()?;
    for turn in 0..4 {
        for (number, hog) in processes("stress-ng-cpu").into_iter().enumerate() {
            let is_heavy = (number + turn).is_multiple_of(2);
            let nice = if is_heavy { -20 } else { 19 };
            setpriority_process(rustix::process::Pid::from_raw(hog.as_raw()), nice)?;
        }
        let mut ran = hogs_run_in(SUFFERED)?;
        ran.sort_by(f64::total_cmp);
        eprintln!("\n  each ran for {ran:.2?} s");
        ensure!(ran.iter().all(|ran| *ran > 0.0), "some did not run");
        let (light, heavy) = ran.split_at(ran.len() / 2);
        ensure!(
            light.iter().sum::<f64>() < heavy.iter().sum::<f64>() / 4.0,
            "light ones have as much as heavy ones"
        );
    }
    drop(hogs);
    let (_, said) = scheduler.leave()?;
    ensure!(said.contains("unregistered from user space"), "{said}");
    Ok(())
}

pub(super) fn a_task_that_can_be_predicted_gets_a_line_and_one_that_asks_is_told_why()
-> anyhow::Result<()> {
    service::stop()?;
    let scheduler = Scheduler::start(&format!("--mode auto --model {MODEL}"))?;
    let alternating = start_alternating()?;
    let pid = alternating.id();
    wait_for_its_line(pid, "chosen")?;
    let why = service::say(&format!("{NAME} why {pid} --socket {SOCKET}"))?;
    eprintln!("\n  {}", why.trim().replace('\n', "\n  "));
    let stats = asked("stats")?;
    eprintln!("  {stats}");
    ensure!(stats["counted"]["samples"].as_u64() > Some(0), "{stats}");
    ensure!(stats["lines"].as_u64() > Some(0), "{stats}");
    drop(alternating);
    scheduler.leave()?;
    let model: Value = serde_json::from_str(&std::fs::read_to_string(MODEL)?)?;
    let bursts = &model["burst"]["groups"]["bash"]["bursts"];
    ensure!(bursts.as_u64() > Some(0), "{model}");
    // Once more: it is read, and there is nothing to say about it.
    let scheduler = Scheduler::start(&format!("--mode auto --model {MODEL}"))?;
    let (_, said) = scheduler.leave()?;
    ensure!(
        said.trim() == "EXIT: unregistered from user space",
        "{said}"
    );
    Ok(())
}

pub(super) fn who_starts_without_a_model_learns_and_then_acts_by_itself() -> anyhow::Result<()> {
    service::stop()?;
    let model = "/run/foresight-test/learned.json";
    let words = format!("--mode auto --virt-llc 2 --explore 0.2 --model {model}");
    let scheduler = Scheduler::start(&words)?;
    let stats = asked("stats")?;
    ensure!(stats["acting"] == false, "{stats}");
    ensure!(stats["moves"]["network"] == false, "{stats}");
    let load = load::start("/usr/libexec/auto-ext/system-tests job alternating-always")?;
    wait::until("lines count", &true, || {
        asked("stats").is_ok_and(|stats| stats["acting"] == true)
    })?;
    let stats = asked("stats")?;
    eprintln!("\n  lines count: {stats}");
    let error = |of| stats["recent"][of]["mae"].as_f64();
    ensure!(
        error("line").is_some_and(|line| Some(line) < error("average")),
        "{stats}"
    );
    // Whether a network is better than moving always depends on this machine; that it is judged, and that none acts that has not
    // proven itself, does not.
    wait::until("it has learned from moves", &true, || {
        asked("stats").is_ok_and(|stats| stats["moves"]["learned"].as_u64() > Some(0))
    })?;
    let stats = asked("stats")?;
    eprintln!("  it has learned from moves: {stats}");
    let moves = &stats["moves"];
    ensure!(moves["acting"] == moves["trusted"], "{stats}");
    ensure!(
        moves["acting"] == false || moves["network"] == true,
        "{stats}"
    );
    drop(load);
    scheduler.leave()?;
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(model)?)?;
    let bursts = &kept["burst"]["groups"]["worker"]["bursts"];
    ensure!(bursts.as_u64() > Some(0), "{kept}");
    Ok(())
}
