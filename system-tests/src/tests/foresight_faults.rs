//! What can go wrong with the scheduler of this repository: model files that are no good while the daemon swaps it in and out,
//! user space that is stopped or killed, floods of processes, CPUs that go and come back. Whatever it is, averages or the
//! kernel's own scheduler decide, and nobody waits.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::faults::Ground;
use super::foresight::{NAME, SOCKET, Scheduler, asked, start_alternating, wait_for_its_line};
use crate::pinning::{self, processes};
use crate::{kernel, load, process, service, wait};

/// Where it keeps what it learned under the daemon.
const MODEL: &str = "/var/lib/auto-ext/foresight/model.json";
/// A model of another machine under another kernel.
const STALE: &str = include_str!("../../../fuzz/corpus/foresight/model.json");
/// How many processes are short.
const SHORT: u64 = 10_000;
/// What of its memory is its own at most, in KiB.
const MEMORY: u64 = 20 << 10;
const CPU: &str = "/sys/devices/system/cpu/cpu3/online";
/// How often it is swapped in and out again with each of the model files, and twice without: twenty swaps in all.
const TURNS: usize = 2;

/// What a model file has, and whether it is left as it is: what can be read is replaced when the scheduler leaves.
struct File {
    what: &'static str,
    text: String,
    stays: bool,
}

fn files() -> anyhow::Result<[File; 3]> {
    Ok([
        File {
            what: "cut off",
            text: STALE[..STALE.len() / 2].to_owned(),
            stays: true,
        },
        File {
            what: "of another machine",
            text: STALE.to_owned(),
            stays: false,
        },
        File {
            what: "of another format",
            text: sealed(&STALE.replacen("\"format\":1", "\"format\":2", 1))?,
            stays: true,
        },
    ])
}

/// With the right sum, which is that of all before its comma.
fn sealed(text: &str) -> anyhow::Result<String> {
    let sum = ",\"sha256\":";
    let (body, _) = text.rsplit_once(sum).context("a model has a sum")?;
    let file = "/run/foresight-model-body";
    fs::write(file, body)?;
    let said = service::say(&format!("sha256sum {file}"))?;
    let digits = said.split(' ').next().unwrap_or_default();
    Ok(format!("{body}{sum}\"{digits}\"}}"))
}

pub(super) fn the_daemon_swaps_to_and_from_it_under_load_whatever_its_model_file_has()
-> anyhow::Result<()> {
    let ground = Ground::at_rest(pinning::start_with("")?)?;
    let hogs = load::start("stress-ng --quiet --cpu 6")?;
    eprintln!();
    // Nothing is there at first; at last, and as it begins again, what it left itself.
    let files = files()?;
    let files = files.iter().map(Some);
    let turn = [None].into_iter().chain(files).chain([None]);
    for file in (0..TURNS).flat_map(|_| turn.clone()) {
        if let Some(file) = file {
            fs::write(MODEL, &file.text)?;
        }
        swap("foresight")?;
        // Where it is asked unless it is told otherwise, which is in the daemon's own directory.
        let stats = service::say(&format!("{NAME} stats"))?;
        ensure!(stats.starts_with("mode auto"), "{stats}");
        swap("cosmos")?;
        wait::until("it is gone", &0, || processes(NAME).len())?;
        if let Some(file) = file {
            let stays = fs::read_to_string(MODEL)? == file.text;
            ensure!(stays == file.stays, "{}: stays: {stays}", file.what);
        }
        if file.is_some_and(|file| file.stays) {
            fs::remove_file(MODEL)?;
        }
    }
    drop(hogs);
    service::say("auto-ext pin kernel")?;
    ground.is_as_before("swaps")
}

fn swap(name: &str) -> anyhow::Result<()> {
    service::say(&format!("auto-ext pin {name}"))?;
    ensure!(kernel::scheduler() == format!("scx_{name}"));
    let last = &service::history(1)?[0];
    ensure!(last["way"] == "hot", "pinned {name}: {last}");
    eprintln!("  {name}: {} us without a scheduler", last["gap_us"]);
    Ok(())
}

pub(super) fn when_its_user_space_stops_averages_count_and_nobody_waits() -> anyhow::Result<()> {
    service::stop()?;
    let scheduler = Scheduler::start("--mode act")?;
    let alternating = start_alternating()?;
    let task = alternating.id();
    wait_for_its_line(task, "used")?;

    // Nobody writes lines meanwhile. Again for longer where the machine is so slow that its last burst is from before.
    let mut stopped = Duration::from_secs(3);
    wait::until("averages count", &true, || {
        let why = asked_after(stopped, &scheduler, task).unwrap_or_default();
        stopped *= 2;
        let latest = &why["last"][0];
        latest["line_ns"].is_null() && latest["used"] == false
    })?;
    // And it recovers.
    wait_for_its_line(task, "used")?;
    drop(alternating);

    overflow(&scheduler)?;

    pinning::send(Signal::SIGKILL, scheduler.pid()?)?;
    kernel::runs("kernel")?;
    wait::until("state", &"disabled".to_owned(), kernel::state).map(drop)
}

/// What it answers about a task when it goes on after it was stopped for so long: first it reads what was reported meanwhile, then
/// it answers who asked meanwhile.
fn asked_after(stopped: Duration, scheduler: &Scheduler, task: u32) -> anyhow::Result<Value> {
    pinning::send(Signal::SIGSTOP, scheduler.pid()?)?;
    let mut question = Command::new(NAME);
    question.args(["why", &task.to_string(), "--json", "--socket", SOCKET]);
    let question = question.stdout(Stdio::piped()).spawn()?;
    sleep(stopped);
    pinning::send(Signal::SIGCONT, scheduler.pid()?)?;
    Ok(serde_json::from_slice(
        &question.wait_with_output()?.stdout,
    )?)
}

/// Who has no room for what it would report counts that, and goes on.
fn overflow(scheduler: &Scheduler) -> anyhow::Result<()> {
    let sleepers = load::start("/usr/libexec/auto-ext/system-tests sleepers")?;
    let more = load::start("/usr/libexec/auto-ext/system-tests sleepers")?;
    let mut stopped = Duration::from_secs(6);
    let mut lost = || -> anyhow::Result<u64> {
        pinning::send(Signal::SIGSTOP, scheduler.pid()?)?;
        sleep(stopped);
        let before = process::cpu_time(sleepers.id())?;
        wait::until("they work on", &true, || {
            process::cpu_time(sleepers.id()).is_ok_and(|now| now > before + 0.1)
        })?;
        pinning::send(Signal::SIGCONT, scheduler.pid()?)?;
        // A slower machine has fewer bursts.
        stopped *= 2;
        let stats = asked("stats")?;
        stats["counted"]["lost"].as_u64().context("not counted")
    };
    let mut found = 0;
    wait::until("bursts that there was no room for", &true, || {
        found = lost().unwrap_or_default();
        found > 0
    })?;
    drop((sleepers, more));
    eprintln!("\n  there was no room for {found} bursts");
    ensure!(kernel::scheduler() == NAME);
    Ok(())
}

pub(super) fn ten_thousand_short_processes_and_cpus_that_go_and_come_back_leave_it_at_work()
-> anyhow::Result<()> {
    service::stop()?;
    let scheduler = Scheduler::start("--mode act")?;
    let pid = u32::try_from(scheduler.pid()?.as_raw())?;
    let quarter = SHORT / 4;
    let line = format!("n=0; while [ $n -lt {quarter} ]; do (:); n=$((n + 1)); done");
    let all = (0..4).map(|_| Command::new("sh").args(["-c", &line]).spawn());
    for mut child in all.collect::<Result<Vec<_>, _>>()? {
        let status = child.wait()?;
        ensure!(status.success(), "{status}");
    }
    let stats = asked("stats")?;
    let memory = process::memory(pid)?;
    eprintln!("\n  after {SHORT} processes {memory} KiB, {stats}");
    ensure!(memory <= MEMORY, "{memory} KiB");
    ensure!(stats["counted"]["bursts"].as_u64() > Some(SHORT), "{stats}");

    for online in ["0", "1"] {
        let enabled = kernel::enable_seq();
        fs::write(CPU, online).with_context(|| CPU.to_owned())?;
        wait::until("it loads itself again", &true, || {
            kernel::enable_seq() > enabled && kernel::scheduler() == NAME
        })?;
        wait::until("it answers", &true, || asked("stats").is_ok())?;
    }
    let (took, _) = scheduler.leave()?;
    eprintln!("  it left within {took:.1?}");
    Ok(())
}
