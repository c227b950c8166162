//! auto-ext-smt on a machine with two threads a core: masks on all threads of groups that fork, and nothing of them left whatever
//! happens. The test machine has no counters of cycles: first it says so, then they are made up (`pretend`).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::{kernel, load, service, wait};

const UNIT: &str = "auto-ext-smt.service";
const CONFIG: &str = "/etc/auto-ext/smt.yaml";
const DROP_IN: &str = "/run/systemd/system/auto-ext-smt.service.d/test.conf";
const SPEEDS: &str = "/run/speeds.json";
const PAIRS: &str = "/var/lib/auto-ext-smt/pairs.jsonl";
const SEEN: &str = "/var/lib/auto-ext-smt/seen.json";
const LEDGER: &str = "/run/auto-ext-smt/affinity.jsonl";
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
const SMT: &str = "/sys/devices/system/cpu/smt/control";
/// Three groups that are busy, on two cores. What they start leaves its parent at once.
const JOBS: [&str; 3] = ["a", "b", "c"];
const LINE: &str =
    "while :; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; (sleep 5 &); done";

/// The groups and the service, until this is dropped.
struct Running;

impl Running {
    fn start() -> anyhow::Result<Self> {
        let running = Self;
        for job in JOBS {
            let unit = format!("--unit={job}.service");
            let started = std::process::Command::new("systemd-run")
                .args(["--quiet", &unit, "sh", "-c", LINE])
                .status()?;
            ensure!(started.success(), "systemd-run {unit}");
        }
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The next test will tell if any of it fails.
        let _ = service::output(&format!(
            "systemctl stop {UNIT} a.service b.service c.service"
        ));
        for file in [CONFIG, DROP_IN, SPEEDS, PAIRS, SEEN] {
            let _ = fs::remove_file(file);
        }
        let _ = service::output("systemctl daemon-reload");
    }
}

pub(super) fn groups_are_placed_with_all_that_they_start_and_nothing_is_left_whatever_happens()
-> anyhow::Result<()> {
    let _running = Running::start()?;
    fs::write(CONFIG, "version: 1\nact: trial\nlong_running: 0s\n")?;
    without_counters_it_says_so()?;
    pretend()?;
    killed().context("killed")?;
    foreign().context("somebody else's mask")?;
    scheduler().context("a sched_ext scheduler")?;
    cpus_go().context("smt off")?;
    stopped().context("stopped")
}

/// The service as it is installed, on a machine that has no counters.
fn without_counters_it_says_so() -> anyhow::Result<()> {
    // Debian's kernel begins with 3, at which only CAP_SYS_ADMIN may count.
    fs::write(PARANOID, "2")?;
    let status = service::output("auto-ext-smt status")?;
    ensure!(status.status.code() == Some(3), "{status:?}");
    service::say(&format!("systemctl start {UNIT}"))?;
    let mode = || property("Mode");
    wait::until("mode", &"s \"unavailable\"".to_owned(), mode)?;
    let no_counters = || property("Pmu") != "s \"unchecked\"";
    wait::until("whether it has looked for counters", &true, no_counters)?;
    let said = service::say("auto-ext-smt status")?;
    ensure!(said.lines().count() == 1, "{said}");
    ensure!(property("Pmu") == "s \"absent\"", "{}", property("Pmu"));
    let profile = "auto-ext-smt profile a.service --long-running 0s --for 1s --inject";
    let profile = service::output(profile)?;
    let why = String::from_utf8_lossy(&profile.stderr).into_owned();
    ensure!(profile.status.code() == Some(1), "{profile:?}");
    ensure!(
        why.lines().count() == 1 && why.contains("instructions per cycle: unavailable"),
        "{why}"
    );
    service::say("auto-ext-smt metrics")?;
    let nobody = service::output("runuser --user nobody -- auto-ext-smt pause")?;
    ensure!(nobody.status.code() == Some(4), "{nobody:?}");
    service::say("runuser --user nobody -- auto-ext-smt why")?;
    ensure!(all_free()? && !Path::new(LEDGER).exists());
    Ok(())
}

/// Has it believe counters from now on: a and c are good for each other.
fn pretend() -> anyhow::Result<()> {
    let speed = json!({"found": 1.0, "placed": 1.2});
    let speeds = json!({"a.service": speed, "b.service": speed, "c.service": speed});
    fs::write(SPEEDS, speeds.to_string())?;
    let mut lines = String::new();
    for job in JOBS {
        let line = |beside: Option<&str>, ipc: f64| {
            let beside = beside.map(|beside| format!("{beside}.service"));
            json!({"job": format!("{job}.service"), "beside": beside, "ipc": ipc}).to_string()
        };
        lines += &(line(None, 1.0) + "\n");
        for beside in JOBS {
            let is_good = [job, beside] == ["a", "c"] || [job, beside] == ["c", "a"];
            lines += &(line(Some(beside), if is_good { 0.95 } else { 0.6 }) + "\n");
        }
    }
    fs::write(PAIRS, lines)?;
    let directory = Path::new(DROP_IN)
        .parent()
        .context("a file in a directory")?;
    fs::create_dir_all(directory)?;
    let command = format!("/usr/libexec/auto-ext/system-tests pretend {SPEEDS}");
    fs::write(
        DROP_IN,
        format!("[Service]\nExecStart=\nExecStart={command}\n"),
    )?;
    service::say("systemctl daemon-reload").map(drop)
}

/// SIGKILL: what the daemon cannot undo any more systemd has undone.
fn killed() -> anyhow::Result<()> {
    placed()?;
    service::say(&format!(
        "systemctl kill --kill-whom=main --signal=KILL {UNIT}"
    ))?;
    wait::until("all free", &Some(true), || all_free().ok())?;
    wait::until("the ledger", &false, || Path::new(LEDGER).exists()).map(drop)
}

/// A mask of somebody else's stays, and the others are let go.
fn foreign() -> anyhow::Result<()> {
    placed()?;
    let pid = service::say("systemctl show --property=MainPID --value b.service")?;
    service::say(&format!("taskset --pid --cpu-list 3 {pid}"))?;
    let others = || Some(free("a").ok()? && free("c").ok()?);
    wait::until("the others free", &Some(true), others)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(status.contains("Cpus_allowed_list:\t3\n"), "{status}");
    let why = service::say("auto-ext-smt why")?;
    ensure!(why.contains("b.service"), "{why}");
    service::say(&format!("taskset --all-tasks --pid --cpu-list 0-3 {pid}")).map(drop)
}

/// Whoever loads a scheduler decides who shares a core.
fn scheduler() -> anyhow::Result<()> {
    placed()?;
    let bpfland = load::start("scx_bpfland")?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    let took = wait::until("all free", &Some(true), || all_free().ok())?;
    println!("yielded {took:?} after the scheduler was there");
    wait::until("mode", &"s \"yielded\"".to_owned(), || property("Mode"))?;
    drop(bpfland);
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler).map(drop)
}

/// Without siblings there is nothing to choose.
fn cpus_go() -> anyhow::Result<()> {
    placed()?;
    fs::write(SMT, "off")?;
    let gone = wait::until("mode", &"s \"unavailable\"".to_owned(), || property("Mode"));
    let is_free = all_free();
    let reason = property("Reason");
    fs::write(SMT, "on")?;
    gone?;
    ensure!(is_free?, "not all is free with SMT off");
    ensure!(
        reason.contains("no core has two hardware threads"),
        "{reason}"
    );
    Ok(())
}

fn stopped() -> anyhow::Result<()> {
    placed()?;
    let history = service::say("auto-ext-smt history")?;
    ensure!(history.contains("somebody else placed"), "{history}");
    service::say(&format!("systemctl stop {UNIT}"))?;
    ensure!(all_free()?, "not all is free");
    ensure!(!Path::new(LEDGER).exists(), "{LEDGER} is left");
    let claimed = fs::read_dir("/run/auto-ext/affinity")?.count();
    ensure!(claimed == 0, "{claimed} processes stay claimed");
    Ok(())
}

/// Begins anew, and waits until a candidate of a trial is in place: on all threads, whoever started them.
fn placed() -> anyhow::Result<()> {
    service::say("systemctl reset-failed auto-ext-smt.service").ok();
    service::say(&format!("systemctl stop {UNIT}"))?;
    // What it sees of speeds that are made up counts more than the pairs that are given.
    let _ = fs::remove_file(SEEN);
    service::say(&format!("systemctl start {UNIT}"))?;
    let together = || {
        let (a, b, c) = (masks("a").ok()?, masks("b").ok()?, masks("c").ok()?);
        let first = a.first()?.clone();
        let is_core = first != "0-3" && first.split([',', '-']).count() == 2;
        let is_placed = a.iter().chain(&c).all(|mask| *mask == first);
        Some(is_core && is_placed && b.iter().all(|mask| *mask != "0-3"))
    };
    wait::until("a and c on one core, and b placed", &Some(true), together)?;
    ensure!(Path::new(LEDGER).exists(), "there is no {LEDGER}");
    Ok(())
}

fn all_free() -> anyhow::Result<bool> {
    for job in JOBS {
        if !free(job)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn free(job: &str) -> anyhow::Result<bool> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online")?;
    let all = ["0-3", online.trim()];
    Ok(masks(job)?.iter().all(|mask| all.contains(&mask.as_str())))
}

/// Where the threads of a group may run, as far as they are still there.
fn masks(job: &str) -> anyhow::Result<Vec<String>> {
    let threads = format!("/sys/fs/cgroup/system.slice/{job}.service/cgroup.threads");
    let threads = fs::read_to_string(&threads).with_context(|| threads.clone())?;
    let status = threads
        .lines()
        .filter_map(|tid| fs::read_to_string(format!("/proc/{tid}/status")).ok());
    let list = |status: String| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.map(|list| list.trim().to_owned())
    };
    Ok(status.filter_map(list).collect())
}

fn property(name: &str) -> String {
    let words = "org.autoext.Smt1 /org/autoext/Smt1 org.autoext.Smt1";
    let said = service::say(&format!("busctl get-property {words} {name}"));
    said.unwrap_or_else(|error| format!("{error:#}"))
}
