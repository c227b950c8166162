//! `auto-ext-smt status`: what the service does, or, where it does not run, whether there is anything to choose here.

use std::io::Write;

use anyhow::Result;
use auto_ext_service::sanitize::sanitize;
use serde_json::json;

use super::client::{is_absent, shown};
use super::look::topology;
use super::missing::{Means, NO_SMT};

/// Prints it. Where the service does not run that is the error, when all else has been said.
pub(super) fn status(as_json: bool, out: &mut dyn Write) -> Result<()> {
    match shown() {
        Ok(shown) if as_json => {
            let status = json!({
                "mode": shown.mode,
                "reason": shown.reason,
                "pmu": shown.pmu,
                "gain": shown.gain,
                "since_us": shown.since_us,
                "groups": shown.groups,
            });
            writeln!(out, "{status}")?;
            Ok(())
        }
        Ok(shown) => {
            writeln!(
                out,
                "{}: {}",
                sanitize(&shown.mode),
                sanitize(&shown.reason)
            )?;
            Ok(())
        }
        Err(error) if is_absent(&error) => {
            without_service(as_json, out)?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

fn without_service(as_json: bool, out: &mut dyn Write) -> Result<()> {
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
