//! Traces of the loads: what dispatcher/tests/traces is made of.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, ensure};

use crate::load::{self, Load};
use crate::service;

/// The trace that is being recorded, where anybody can read it.
pub(crate) const FILE: &str = "/var/tmp/trace.jsonl";
const BEFORE: Duration = Duration::from_secs(4);
const DURING: Duration = Duration::from_secs(6);
const AFTER: Duration = Duration::from_secs(4);

/// Records every load once and prints the traces, one after the other: each begins with a header,
/// whose label is the load's class and name.
pub(crate) fn print_all() -> anyhow::Result<()> {
    service::stop()?;
    let _server = load::prepare()?;
    for load in &load::ALL {
        record(load)?;
        io::stdout().write_all(&fs::read(FILE)?)?;
    }
    Ok(())
}

/// Records a load, into [`FILE`].
pub(crate) fn record(load: &Load) -> anyhow::Result<()> {
    record_as(
        Path::new(FILE),
        load.class,
        load.name,
        &["traced", load.name],
    )
}

/// Records, into that file, the load of that class and name, which this program is when it is told so by
/// these words.
pub(crate) fn record_as(
    file: &Path,
    class: &str,
    name: &str,
    words: &[&str],
) -> anyhow::Result<()> {
    // What the load before left to be written is not part of this one.
    nix::unistd::sync();
    fs::remove_file(file).ok();
    let label = format!("{class}: {name}");
    let status = Command::new("auto-ext")
        .args(["record", "--label", &label, "--out"])
        .arg(file)
        .arg("--")
        .arg(env::current_exe()?)
        .args(words)
        .status()
        .context("failed to run auto-ext")?;
    ensure!(status.success(), "{label}: {status}");
    Ok(())
}

/// Idles, is the load of that name for a while, and idles again.
pub(crate) fn be_load_for_a_while(name: &str) -> anyhow::Result<()> {
    let load = load::ALL.iter().find(|load| load.name == name);
    let load = load.context("there is no such load")?;
    sleep(BEFORE);
    let running = load.start()?;
    sleep(DURING);
    drop(running);
    sleep(AFTER);
    Ok(())
}
