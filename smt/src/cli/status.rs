//! `auto-ext-smt status`: whether there is anything to choose here.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use super::look::topology;

/// Why no speed is told.
pub(super) const NO_COUNTERS: &str =
    "instructions per cycle: unavailable: this version counts nothing";

/// Prints it.
pub(super) fn status(as_json: bool, out: &mut dyn Write) -> Result<()> {
    let (mode, reason) = match topology() {
        Err(error) => ("unavailable", error.to_string()),
        Ok(topology) => match topology.cores() {
            0 => (
                "unavailable",
                "no core has two hardware threads that may be given to groups".to_owned(),
            ),
            cores => (
                "observe",
                format!("{cores} cores have hardware threads to share; {NO_COUNTERS}"),
            ),
        },
    };
    if as_json {
        writeln!(out, "{}", json!({"mode": mode, "reason": reason}))?;
    } else {
        writeln!(out, "{mode}: {reason}")?;
    }
    Ok(())
}
