//! `auto-ext-smt status`: whether there is anything to choose here.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use super::look::topology;
use super::missing::{Means, NO_SMT};

/// Prints it.
pub(super) fn status(as_json: bool, out: &mut dyn Write) -> Result<()> {
    let unavailable = |reason: String| ("unavailable", reason, None);
    let (mode, reason, pmu) = match topology() {
        Err(error) => unavailable(error.to_string()),
        Ok(topology) if topology.cores() == 0 => unavailable(NO_SMT.to_owned()),
        Ok(topology) => {
            let means = Means::find(&topology);
            let mut reason = format!("{} cores have hardware threads to share", topology.cores());
            if let Some(missing) = means.missing() {
                reason.push_str(&format!("; {missing}"));
            }
            ("observe", reason, Some(means.pmu_word()))
        }
    };
    if as_json {
        writeln!(
            out,
            "{}",
            json!({"mode": mode, "reason": reason, "pmu": pmu})
        )?;
    } else {
        writeln!(out, "{mode}: {reason}")?;
    }
    Ok(())
}
