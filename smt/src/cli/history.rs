//! `auto-ext-smt history`: what came of trials and placements.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use auto_ext_service::sanitize::sanitize;

use crate::history::History;

/// Prints the last entries, the newest last.
pub(super) fn history(
    state: &Path,
    count: usize,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let entries = History::new(state)
        .read()
        .context("the history cannot be read")?;
    let last = &entries[entries.len().saturating_sub(count)..];
    if as_json {
        writeln!(out, "{}", serde_json::to_string(last)?)?;
        return Ok(());
    }
    if last.is_empty() {
        writeln!(out, "nothing was tried yet")?;
    }
    for entry in last {
        writeln!(out, "{}", sanitize(&entry.sentence()))?;
    }
    Ok(())
}
