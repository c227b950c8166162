//! Comparisons: a command in turns under two schedulers, and what runs afterwards.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::trials;
use crate::leftovers::Leftovers;
use crate::service::{self, Bus};
use crate::{broken, kernel, policy, wait};

/// The policy wants scx_flash; a comparison takes more switches than the default allows.
const POLICY: &str = "version: 1\nrules: [{class: idle, use: [scx_flash, kernel]}]\n\
    stability: {min_run: 60s, max_switches_per_hour: 1000}\n";

/// What the kernel runs, turn by turn, is written here by the command.
const TURNS: &str = "/root/compared-turns";

pub(super) fn two_schedulers_are_compared_and_the_choice_of_the_policy_is_back_afterwards()
-> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    kernel::runs("scx_flash")?;

    let csv = "/root/compared.csv";
    let answer = service::say(&format!(
        "auto-ext compare kernel bpfland --runs 2 --json --csv {csv} -- true"
    ))?;
    let answer: Value = serde_json::from_str(&answer)?;
    let challenger = &answer["challengers"][0];
    ensure!(
        answer["ended"] == "runs" && answer["incumbent"] == "kernel",
        "{answer}"
    );
    ensure!(
        challenger["pairs"] == 2 && challenger["verdict"] == "open",
        "{answer}"
    );
    let wall = &challenger["measures"]["wall_s"];
    ensure!(
        wall["incumbent"].as_f64().is_some_and(|wall| wall > 0.0),
        "{answer}"
    );
    let turns = std::fs::read_to_string(csv)?;
    ensure!(turns.lines().count() == 5, "{turns}");
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("scx_flash")?;

    // Each turn is under its own scheduler, as the kernel says.
    let command = format!(
        "cat /sys/kernel/sched_ext/root/ops >>{TURNS} 2>/dev/null || echo kernel >>{TURNS}"
    );
    let output = Command::new("auto-ext")
        .args([
            "compare",
            "kernel",
            "bpfland",
            "--runs",
            "2",
            "--csv",
            "/root/compared-by.csv",
        ])
        .args(["--", "sh", "-c", &command])
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let by = std::fs::read_to_string("/root/compared-by.csv")?;
    let said = by
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(3).unwrap_or_default());
    let seen = std::fs::read_to_string(TURNS)?;
    // The first run does not count.
    let seen: Vec<&str> = seen.lines().skip(1).collect();
    for (said, seen) in said.zip(&seen) {
        ensure!(seen.starts_with(said), "{by}\n{seen:?}");
    }
    ensure!(seen.len() == 4, "{seen:?}");
    kernel::runs("scx_flash")?;
    for file in [csv, "/root/compared-by.csv", TURNS] {
        std::fs::remove_file(file)?;
    }
    Ok(())
}

/// As `POLICY`, with the least switches there may be.
const FEW_SWITCHES: &str = "version: 1\nrules: [{class: idle, use: [scx_flash, kernel]}]\n\
    stability: {min_run: 60s, max_switches_per_hour: 2}\n";

pub(super) fn a_comparison_of_roots_has_switches_of_its_own() -> anyhow::Result<()> {
    policy::write(FEW_SWITCHES)?;
    service::restart()?;
    let bus = Bus::connect()?;
    kernel::runs("scx_flash")?;
    let answer = service::say("auto-ext compare kernel bpfland --runs 3 --json -- true")?;
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(
        answer["ended"] == "runs" && answer["challengers"][0]["pairs"] == 3,
        "{answer}"
    );
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("scx_flash")?;
    let why: Value = serde_json::from_str(&service::say("auto-ext why --json")?)?;
    // That of scx_flash, at the daemon's start.
    ensure!(why["switches"][0] == 1, "{why}");
    ensure!(
        why["compared"][0].as_u64().is_some_and(|used| used >= 4),
        "{why}"
    );
    Ok(())
}

/// A shell that is woken some hundred times, by the ends of what it starts: a child of the comparison's, which counts.
const WAKES: &str = "for i in $(seq 200); do sleep 0.005; done";

pub(super) fn how_long_tasks_wait_is_measured_in_each_turn_and_nothing_of_that_is_left()
-> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    kernel::runs("scx_flash")?;
    let before = Leftovers::at_rest()?.bpf_objects();
    let csv = "/root/compared-waits.csv";
    let output = Command::new("auto-ext")
        .args(["compare", "kernel", "bpfland", "--runs", "2", "--json"])
        .args(["--csv", csv, "--", "sh", "-c", WAKES])
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let turns = std::fs::read_to_string(csv)?;
    for (column, least) in [
        ("wakes_per_s", 20.0),
        ("wait_mean_s", 0.0),
        ("wait_p99_s", 0.0),
        ("stretch", 1.0),
        ("machine_user_cpus", 0.0),
    ] {
        let at = turns
            .lines()
            .next()
            .and_then(|columns| columns.split(',').position(|name| name == column))
            .with_context(|| format!("there is no column {column}"))?;
        for line in turns.lines().skip(1) {
            let number: Option<f64> = line.split(',').nth(at).and_then(|it| it.parse().ok());
            ensure!(number.is_some_and(|it| it >= least), "{column}: {line}");
        }
    }
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let wait = &answer["challengers"][0]["measures"]["wait_p95_s"];
    ensure!(
        wait["incumbent"].as_f64().is_some_and(|wait| wait > 0.0),
        "{answer}"
    );
    kernel::runs("scx_flash")?;
    let left = Leftovers::at_rest()?.bpf_objects();
    ensure!(left == before, "{left:?} after {before:?}");
    std::fs::remove_file(csv)?;
    Ok(())
}

pub(super) fn the_load_that_runs_is_compared_by_what_it_waits() -> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    kernel::runs("scx_flash")?;
    let mut load = Command::new("sh")
        .args(["-c", "while :; do sleep 0.005; done"])
        .spawn()
        .context("failed to run the load")?;
    // One pair, however long the machine takes to load a scheduler.
    let answer =
        service::say("auto-ext compare kernel bpfland --live 10m --runs 1 --arm 2s --json");
    load.kill()?;
    load.wait()?;
    let answer: Value = serde_json::from_str(&answer?)?;
    let challenger = &answer["challengers"][0];
    ensure!(
        answer["judged_by"] == "wait_mean_s" && answer["live"] == true,
        "{answer}"
    );
    ensure!(
        answer["ended"] == "runs" && challenger["pairs"] == 1,
        "{answer}"
    );
    let wakes = &challenger["measures"]["wakes_per_s"];
    ensure!(
        wakes["challenger"]
            .as_f64()
            .is_some_and(|wakes| wakes > 0.0),
        "{answer}"
    );
    for measure in ["canary_p99_s", "migrations_per_s", "longest_wait_s"] {
        let median = &challenger["measures"][measure]["challenger"];
        ensure!(
            median.as_f64().is_some_and(|it| it >= 0.0),
            "{measure}: {answer}"
        );
    }
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("scx_flash")?;
    Ok(())
}

/// By then a daemon has surely found out all about the machine.
const KNOWS_THE_MACHINE: Duration = Duration::from_secs(10);

/// It says two under scx_flash, and one under any other.
const SAYS_TWO_UNDER_FLASH: &str = "#!/bin/sh\nif grep -q flash /sys/kernel/sched_ext/root/ops 2>/dev/null; then echo 2; else echo 1; fi\n";

pub(super) fn what_a_comparison_found_is_kept_exported_forgotten_and_imported() -> anyhow::Result<()>
{
    const EXPORTED: &str = "/root/exported-trials.json";
    // The daemon starts it too, but learns from it only once it has started, which takes long here.
    service::say("powerprofilesctl get")?;
    let bus = trials::begin(&format!(
        "{}stability: {{max_switches_per_hour: 1000}}\n",
        trials::POLICY
    ))?;
    // What is kept must have been found since the daemon knows the machine, the source of its power and the profile.
    wait::until_it_stays("class", &"idle".to_owned(), KNOWS_THE_MACHINE, || {
        bus.string("Class")
    })?;
    let program = broken::script("says-two-under-flash", SAYS_TWO_UNDER_FLASH)?;
    let command = format!(
        "auto-ext compare kernel scx_flash --measure ([0-9]+) --lower --json --keep idle -- {program}"
    );
    let answer: Value = serde_json::from_str(&service::say(&command)?)?;
    ensure!(answer["challengers"][0]["verdict"] == "worse", "{answer}");
    let of_flash = || {
        let known: Value = serde_json::from_str(&service::say("auto-ext trials --json")?)?;
        let rows = known["classes"][0]["found"].as_array();
        let rows = rows.cloned().unwrap_or_default();
        let is_its = |row: &Value| row["scheduler"].to_string().contains("scx_flash");
        let its = rows.into_iter().find(is_its);
        its.with_context(|| format!("nothing of scx_flash: {known}"))
    };
    let kept = of_flash()?;
    ensure!(
        kept["class"] == "idle" && kept["closed"] == "worse" && kept["is_imported"] == false,
        "{kept}"
    );

    service::say(&format!("auto-ext trials --export {EXPORTED}"))?;
    service::say("auto-ext trials --forget idle")?;
    ensure!(of_flash().is_err(), "{:?}", of_flash());
    let said = service::say(&format!("auto-ext trials --import {EXPORTED}"))?;
    ensure!(said.starts_with("1 of 1 records"), "{said}");
    let imported = of_flash()?;
    ensure!(
        imported["is_imported"] == true && imported["effect"] == kept["effect"],
        "{imported}"
    );
    std::fs::remove_file(EXPORTED)?;
    trials::begin(policy::QUIET)?;
    Ok(())
}

pub(super) fn without_a_daemon_root_compares_and_leaves_the_kernels_own_scheduler()
-> anyhow::Result<()> {
    service::stop()?;
    let enabled = kernel::enable_seq();
    let answer = service::say("auto-ext compare kernel bpfland cosmos --runs 1 --json -- true")?;
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(answer["ended"] == "runs", "{answer}");
    for challenger in [&answer["challengers"][0], &answer["challengers"][1]] {
        ensure!(challenger["pairs"] == 1, "{answer}");
    }
    ensure!(kernel::enable_seq() >= enabled + 2 && kernel::state() == "disabled");

    // What is killed takes its scheduler along.
    let mut compare = Command::new("auto-ext")
        .args([
            "compare",
            "bpfland",
            "cosmos",
            "--",
            "/usr/bin/sleep",
            "2000",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to run auto-ext compare")?;
    kernel::runs("scx_cosmos")?;
    compare.kill()?;
    compare.wait()?;
    wait::until("the kernel", &"disabled".to_owned(), kernel::state)?;
    service::restart()
}

/// Two sets of arguments that scx_bpfland takes, and one that it does not.
const SETS: &str = "scheduler: bpfland\nsets: [[], [-s, 5000], [--no-such-option]]\n";

pub(super) fn arguments_are_tried_in_rounds_and_the_best_meets_the_kernel() -> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    kernel::runs("scx_flash")?;
    let file = "/root/sets.yaml";
    std::fs::write(file, SETS)?;
    let answer = service::say(&format!(
        "auto-ext compare --tune {file} --runs 2 --json -- true"
    ))?;
    let answer: Value = serde_json::from_str(&answer)?;
    let tuned = &answer["tuned"];
    ensure!(
        tuned[2]["args"][0] == "--no-such-option" && tuned[2]["score"].is_null(),
        "{answer}"
    );
    for set in [&tuned[0], &tuned[1]] {
        ensure!(
            set["rounds"].as_u64().is_some_and(|rounds| rounds >= 2),
            "{answer}"
        );
    }
    let challenger = &answer["challengers"][0];
    ensure!(
        answer["incumbent"] == "kernel" && challenger["pairs"] == 2,
        "{answer}"
    );
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("scx_flash")?;
    std::fs::remove_file(file)?;
    Ok(())
}

pub(super) fn a_comparison_that_is_killed_leaves_neither_its_scheduler_nor_its_command()
-> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    kernel::runs("scx_flash")?;
    // It cannot give back what it leased.
    let mut compare = Command::new("auto-ext")
        .args([
            "compare",
            "kernel",
            "bpfland",
            "--",
            "/usr/bin/sleep",
            "2000",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to run auto-ext compare")?;
    kernel::runs("scx_bpfland")?;
    let commands = || {
        let found = service::output("pgrep --count --full ^/usr/bin/sleep.2000");
        let found = found.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        found.unwrap_or_default()
    };
    wait::until("the command", &"1".to_owned(), commands)?;
    compare.kill()?;
    compare.wait()?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("scx_flash")?;
    wait::until("the command", &"0".to_owned(), commands)?;
    Ok(())
}
