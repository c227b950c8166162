//! `auto-ext-vm plan --scenario FILE`: what would be done on a host that somebody describes.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

use crate::core::explain;
use crate::scenario::{MAX_BYTES, Scenario, parse};
use crate::snapshot::GuestId;
use anyhow::{Context as _, bail};
use auto_ext_service::sanitize::sanitize;

use super::words::action_in_words;

/// Shows what would be done on the host that is described in this file.
pub(super) fn plan(path: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let read = || parse(&read(path)?).map_err(anyhow::Error::from);
    let scenario = read().with_context(|| path.display().to_string())?;
    show(&scenario, out).context("cannot write")
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        bail!("larger than {MAX_BYTES} bytes");
    }
    Ok(text)
}

/// Each window in which something is done, and how it is in the end.
fn show(scenario: &Scenario, out: &mut dyn Write) -> io::Result<()> {
    let names = scenario.names();
    let name = |guest: &GuestId| sanitize(names.get(guest).map_or("?", String::as_str));
    let mut run = scenario.run();
    writeln!(out, "at the beginning: sigma {:.1}", run.host.sigma())?;
    for window in 1..=scenario.windows() {
        let before = run.actions.len();
        run.step();
        let mut done = String::new();
        for (_, action) in &run.actions[before..] {
            if let Some(words) = action_in_words(action, name) {
                done.push_str(&format!("  {words}\n"));
            }
        }
        if !done.is_empty() {
            writeln!(
                out,
                "window {window}: {}",
                explain(&run.state, name).lines().next().unwrap_or_default()
            )?;
            out.write_all(done.as_bytes())?;
        }
    }
    writeln!(
        out,
        "at the end: sigma {:.1}, {} lost",
        run.host.sigma(),
        run.host.lost.len()
    )?;
    out.write_all(explain(&run.state, name).as_bytes())
}
