//! Traces of the loads: what dispatcher/tests/traces is made of.

use std::io::{self, Write as _};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, ensure};

use crate::load;
use crate::service;

/// Where a trace is until it has been printed.
const FILE: &str = "/root/trace.jsonl";
const BEFORE: Duration = Duration::from_secs(4);
const DURING: Duration = Duration::from_secs(6);
const AFTER: Duration = Duration::from_secs(4);

/// Records every load once and prints the traces, one after the other: each begins with a header,
/// whose label is the load's number, class and name.
pub(crate) fn print_all() -> anyhow::Result<()> {
    service::stop()?;
    let _server = load::prepare()?;
    for (number, load) in load::ALL.iter().enumerate() {
        // What the load before left to be written is not part of this one.
        nix::unistd::sync();
        fs::remove_file(FILE).ok();
        let label = format!("{number} {}: {}", load.class, load.name);
        let number = number.to_string();
        let this = env::current_exe()?;
        let status = Command::new("auto-ext")
            .args(["record", "--out", FILE, "--label", &label, "--"])
            .arg(this)
            .args(["load", &number])
            .status()?;
        ensure!(status.success(), "{label}: {status}");
        io::stdout().write_all(&fs::read(FILE)?)?;
    }
    Ok(())
}

/// Idles, is the load of that number for a while, and idles again.
pub(crate) fn be_load_for_a_while(number: &str) -> anyhow::Result<()> {
    let number: usize = number.parse()?;
    let load = load::ALL.get(number).context("there is no such load")?;
    sleep(BEFORE);
    let running = load.start()?;
    sleep(DURING);
    drop(running);
    sleep(AFTER);
    Ok(())
}
