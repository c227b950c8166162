//! Trials beside the load that runs: that they happen, that whoever wants something else ends them, and that nothing is left of them.

use std::fs;
use std::iter::repeat_n;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::available_parallelism;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::leftovers::Leftovers;
use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

/// One class, whatever the load is, in which scx_flash may be tried.
pub(super) const POLICY: &str = "version: 1\nrules: [{class: idle, use: [kernel], try: [scx_flash], goal: latency}]\n\
    trials: {mode: ask, arm: 5s}\n";

pub(crate) const TABLE: &str = "/var/lib/auto-ext/trials.json";
const ASIDE: &str = "/var/lib/auto-ext/trials.json.unusable";
const PAIRS: &str = "/var/lib/auto-ext/pairs.jsonl";
const FILES: [&str; 4] = [TABLE, ASIDE, PAIRS, "/var/lib/auto-ext/consent.json"];

/// What sleeps for 5 ms and is woken. One that starts a process each time would take more time in the kernel the sooner it is let
/// run, which a guard takes for a loss to programs.
const SLEEPER: &str = "exec 3<> <(:); while :; do read -t 0.005 -u 3; done";

/// What never sleeps, and what sleeps and is woken beside it, so often that a few seconds say how long it waits; ended with this.
pub(crate) struct Load(Vec<Child>);

impl Load {
    /// A hog for each CPU, and one that sleeps.
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let hogs = repeat_n("while :; do :; done", available_parallelism()?.get());
        let mut load = Self(Vec::new());
        for script in hogs.chain([SLEEPER]) {
            let child = Command::new("bash").args(["-c", script]).spawn();
            load.0.push(child.context("failed to run the load")?);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts the service anew, with nothing learned.
pub(crate) fn begin(text: &str) -> anyhow::Result<Bus> {
    policy::write(text)?;
    service::stop()?;
    for file in FILES {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    service::restart()?;
    Bus::connect()
}

/// The trial that is on, as `status` has it; empty while none is.
pub(super) fn trial() -> Value {
    let status = service::say("auto-ext status --json");
    let status = status.and_then(|status| Ok(serde_json::from_str::<Value>(&status)?));
    status.map_or(Value::Null, |mut status| status["trial"].take())
}

pub(super) fn is_tried() -> bool {
    trial()["runs"].is_string()
}

/// The records of the table that was kept.
pub(super) fn records() -> Vec<Value> {
    let table = fs::read(TABLE).unwrap_or_default();
    let mut table: Value = serde_json::from_slice(&table).unwrap_or_default();
    table["records"]
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default()
}

/// The pairs that were kept.
fn pairs() -> Vec<Value> {
    let pairs = fs::read_to_string(PAIRS).unwrap_or_default();
    let pairs = pairs
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    pairs.collect()
}

/// Nothing is tried any more, the kernel's own runs, and there is no more in the kernel than before.
pub(super) fn is_over(before: [usize; 4]) -> anyhow::Result<()> {
    ensure!(!is_tried(), "{}", trial());
    kernel::runs("kernel")?;
    wait::until("what measures", &before, || {
        Leftovers::now().map_or([0; 4], |now| now.bpf_objects())
    })?;
    Ok(())
}

/// Has the noise of the load known, as small as on a machine that has nothing else to do. What it is on this one has no
/// part in what is tested, and to find it out takes turns of which each lasts.
pub(super) fn tell_the_noise() -> anyhow::Result<()> {
    let mut table: Value = serde_json::from_slice(&fs::read(TABLE)?)?;
    let record = &mut table["records"][0];
    ensure!(record["scheduler"].is_null(), "{record}");
    record["ratios"] = json!([0.01, -0.02, 0.01]);
    Ok(fs::write(TABLE, table.to_string())?)
}

pub(super) fn a_scheduler_is_tried_beside_the_load_and_whoever_wants_something_ends_that_at_once()
-> anyhow::Result<()> {
    let bus = begin(POLICY)?;
    ensure!(bus.string("Learning") == "ask");
    let before = Leftovers::at_rest()?.bpf_objects();
    let load = Load::begin()?;
    service::say("auto-ext learn --now 30m")?;
    ensure!(bus.string("Learning") == "on");

    // At first the load itself has turns, under the kernel's own.
    wait::until("a trial", &true, is_tried)?;
    ensure!(
        trial()["candidate"] == "" && kernel::state() != "enabled",
        "{}",
        trial()
    );
    wait::until("what measures", &true, || {
        Leftovers::now().is_ok_and(|now| now.bpf_objects() > before)
    })?;
    wait::until("a record of the noise", &true, || {
        records()
            .iter()
            .any(|record| record["pairs"].as_u64() > Some(0))
    })?;
    bus.pin("kernel")?;
    is_over(before)?;
    service::say("auto-ext unpin")?;

    // What was found and who consents is known after a restart.
    service::stop()?;
    tell_the_noise()?;
    service::say("systemctl start auto-ext.service")?;
    let bus = Bus::connect()?;
    ensure!(bus.string("Learning") == "on");
    let after_restart = Leftovers::at_rest()?.bpf_objects();
    kernel::runs("scx_flash")?;
    wait::until("what is tried", &true, || {
        trial()["candidate"]
            .as_str()
            .is_some_and(|candidate| candidate.contains("flash"))
    })?;
    wait::until("status", &true, || {
        service::say("auto-ext status").is_ok_and(|said| said.contains("against kernel, turn"))
    })?;
    wait::until("Trial", &true, || {
        service::busctl("Trial").is_ok_and(|trial| trial.contains("flash"))
    })?;

    // The pair may be lost, if this machine makes tasks wait for too long under scx_flash.
    let measured = || {
        let pairs = pairs().into_iter();
        pairs
            .rev()
            .find(|pair| pair["end"]["end"] != "dropped" && pair.to_string().contains("scx_flash"))
    };
    wait::until("a pair", &true, || measured().is_some())?;
    let pair = measured().context("a pair")?;
    let end = pair["end"]["end"].as_str().unwrap_or_default();
    ensure!(matches!(end, "kept" | "lost"), "{pair}");
    if end == "kept" {
        let waits = pair["candidate"]["wait_ns"].as_f64();
        ensure!(
            waits.is_some_and(|waits| waits > 0.0) && pair["ratio"].is_f64(),
            "{pair}"
        );
        ensure!(is_tried());
    }
    service::say("auto-ext learn off")?;
    ensure!(bus.string("Learning") == "ask");
    is_over(after_restart)?;
    drop(load);

    let learned: Value = serde_json::from_str(&service::say("auto-ext trials --json")?)?;
    ensure!(learned["classes"][0]["class"] == "idle", "{learned}");
    let told = service::say("auto-ext trials --pairs idle")?;
    ensure!(told.contains("scx_flash"), "{told}");
    let ended = service::history(20)?;
    let ended = ended
        .iter()
        .filter(|entry| entry["event"] == "trial")
        .count();
    ensure!(ended >= 2, "{ended}");
    service::say("auto-ext trials --forget idle")?;
    wait::until("records", &Vec::new(), records)?;
    begin(policy::QUIET)?;
    Ok(())
}

pub(super) fn a_table_that_makes_no_sense_is_set_aside_and_nothing_is_tried_where_the_policy_says_off()
-> anyhow::Result<()> {
    begin(policy::QUIET)?;
    service::stop()?;
    fs::write(TABLE, "{\"version\": 1, \"records\": [7]}")?;
    service::say("systemctl start auto-ext.service")?;
    let bus = Bus::connect()?;
    ensure!(bus.string("Learning") == "off");
    ensure!(Path::new(ASIDE).exists() && !Path::new(TABLE).exists());
    let refused = service::output("auto-ext learn on")?;
    let why = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && why.contains("mode: ask"),
        "{why}"
    );
    let none = service::output("auto-ext trials --forget network")?;
    ensure!(none.status.code() == Some(1), "{none:?}");
    let status = service::say("auto-ext learn status")?;
    ensure!(status.starts_with("off"), "{status}");
    begin(policy::QUIET)?;
    Ok(())
}
