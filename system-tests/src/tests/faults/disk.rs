//! Where the history and the sockets are kept, nothing can be written any more.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure};

use super::Ground;
use crate::service;
use crate::{kernel, pinning, wait};

const STATE: &str = "/var/lib/auto-ext";
const HISTORY: &str = "/var/lib/auto-ext/history.jsonl";
const FILLER: &str = "/var/lib/auto-ext/filler";
const NOT_WRITTEN: &str = "the history is not written";

pub(in crate::tests) fn a_full_disk_and_a_read_only_one_cost_only_the_file_of_the_history()
-> anyhow::Result<()> {
    let _disk = Disk::mount()?;
    let ground = Ground::at_rest(pinning::start_with("")?)?;
    swap("cosmos")?;
    // Another thread writes it.
    wait::until("switches to scx_cosmos in the file", &1, || {
        in_file("scx_cosmos").unwrap_or_default()
    })?;

    // Reports that there is no room are what is wanted.
    service::output(&format!("dd if=/dev/zero of={FILLER} bs=4k"))?;
    fill_the_last_page(&ground)?;
    swap("bpfland")?;
    swap("cosmos")?;
    let journal = ground.journal()?;
    ensure!(journal.matches(NOT_WRITTEN).count() == 1, "{journal}");
    ensure!(in_file("scx_bpfland")? == 0, "there was room");
    fs::remove_file(FILLER)?;
    swap("bpfland")?;
    // What was missing is there now, too.
    for scheduler in ["scx_bpfland", "scx_cosmos"] {
        wait::until("switches in the file", &2, || {
            in_file(scheduler).unwrap_or_default()
        })?;
    }

    service::say(&format!("mount -o remount,ro {STATE}"))?;
    swap("cosmos")?;
    swap("flash")?;
    let journal = ground.journal()?;
    ensure!(journal.matches(NOT_WRITTEN).count() == 2, "{journal}");
    service::say("systemctl restart auto-ext.service")?;
    swap("cosmos")?;
    ensure!(in_file("scx_flash")? == 0, "it was written");
    service::say(&format!("mount -o remount,rw {STATE}"))?;
    swap("kernel")?;
    ensure!(in_file("scx_flash")? == 0, "of another daemon's memory");
    service::stop()
}

pub(in crate::tests) fn a_full_run_directory_costs_no_scheduler() -> anyhow::Result<()> {
    let ground = Ground::at_rest(pinning::start_with("")?)?;
    {
        let _full = FullRun::fill()?;
        swap("cosmos")?;
        swap("bpfland")?;
        swap("kernel")?;
        ground.is_as_before("full /run")?;
    }
    ground.works()
}

/// What was begun of the file has some room left; refusals are entries too.
fn fill_the_last_page(ground: &Ground) -> anyhow::Result<()> {
    for _ in 0..40 {
        service::output("auto-ext pin nonsense")?;
        if ground.journal()?.contains(NOT_WRITTEN) {
            return Ok(());
        }
    }
    bail!("the history is written though there is no room")
}

/// Pins it; it then runs, and the history of the daemon has it.
fn swap(name: &str) -> anyhow::Result<()> {
    service::say(&format!("auto-ext pin {name}"))?;
    let runs = kernel::scheduler();
    let last = &service::history(1)?[0];
    ensure!(
        runs.trim_start_matches("scx_") == name
            && last["event"] == "switched"
            && last["to"] == runs,
        "{name} was pinned, {runs} runs, the history has {last}"
    );
    Ok(())
}

/// How many switches to a scheduler the file has.
fn in_file(scheduler: &str) -> anyhow::Result<usize> {
    let text = fs::read_to_string(HISTORY)?;
    let switched = text.lines().filter(|line| line.contains("\"switched\""));
    let to = format!("\"to\":\"{scheduler}\"");
    Ok(switched.filter(|line| line.contains(&to)).count())
}

/// A small disk in the place of the service's, until this is dropped.
struct Disk;

impl Disk {
    fn mount() -> anyhow::Result<Self> {
        service::stop()?;
        fs::create_dir_all(STATE)?;
        service::say(&format!(
            "mount -t tmpfs -o size=64k,mode=755 auto-ext {STATE}"
        ))?;
        Ok(Self)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = service::stop();
        // The next test will tell if this fails.
        let _ = service::say(&format!("umount --lazy {STATE}"));
    }
}

/// /run has no room left until this is dropped.
struct FullRun;

impl FullRun {
    const FILLER: &str = "/run/filler";

    fn fill() -> anyhow::Result<Self> {
        let full = Self;
        service::output(&format!("dd if=/dev/zero of={} bs=1M", Self::FILLER))?;
        service::output(&format!(
            "dd if=/dev/zero of={} bs=4k oflag=append conv=notrunc",
            Self::FILLER
        ))?;
        let written = fs::write("/run/more", [0; 4096]);
        ensure!(written.is_err(), "there is room in /run");
        Ok(full)
    }
}

impl Drop for FullRun {
    fn drop(&mut self) {
        for file in [Self::FILLER, "/run/more"] {
            if Path::new(file).exists() {
                let _ = fs::remove_file(file);
            }
        }
    }
}
