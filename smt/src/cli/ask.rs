//! `auto-ext-smt pause`, `resume`, `trial`, `why` and `metrics`: what the running service is asked.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, Result};
use auto_ext_service::clock::now_us;
use auto_ext_service::duration;
use auto_ext_service::sanitize::sanitize;
use serde_json::Value;

use super::client::{Shown, call, shown as shown_by_service};
use super::look::shown;

/// Has the service place nothing for so long; until it is resumed where no time is given.
pub(super) fn pause(lasts: Option<Duration>, dry_run: bool, out: &mut dyn Write) -> Result<()> {
    let seconds = lasts.map_or(0, |lasts| lasts.as_secs());
    if dry_run {
        let until = lasts.map_or("until it is resumed".to_owned(), |_| {
            format!("for {seconds} s")
        });
        writeln!(
            out,
            "would have what is placed undone, and nothing placed {until}"
        )?;
        return placed(out);
    }
    let seconds = u32::try_from(seconds).context("that is too long")?;
    said(&call("Pause", &seconds)?, out)
}

/// Ends a pause.
pub(super) fn resume(dry_run: bool, out: &mut dyn Write) -> Result<()> {
    if dry_run {
        let Shown { mode, .. } = shown_by_service()?;
        writeln!(out, "would end a pause; now: {mode}")?;
        return Ok(());
    }
    said(&call("Resume", &())?, out)
}

/// Has the service try what there is to try, or says what that is.
pub(super) fn trial(dry_run: bool, out: &mut dyn Write) -> Result<()> {
    if !dry_run {
        return said(&call("Trial", &())?, out);
    }
    let plan: Value = serde_json::from_str(&call("Plan", &())?)?;
    let text = |value: &Value| shown(value.as_str().unwrap_or_default());
    writeln!(out, "{}: {}", text(&plan["mode"]), text(&plan["reason"]))?;
    let candidates = plan["candidates"].as_array().map_or(&[][..], Vec::as_slice);
    if candidates.is_empty() {
        writeln!(out, "there is nothing to try")?;
    }
    for candidate in candidates {
        let predicted = candidate["predicted"].as_f64().unwrap_or_default();
        writeln!(
            out,
            "would be tried, {:.1} % better as far as is known:",
            100.0 * predicted
        )?;
        for group in candidate["groups"].as_array().into_iter().flatten() {
            writeln!(
                out,
                "  {} on CPUs {}",
                text(&group["job"]),
                text(&group["cpus"])
            )?;
        }
    }
    Ok(())
}

/// Says what is under way and why, and what is known of each group.
pub(super) fn why(out: &mut dyn Write) -> Result<()> {
    show(&shown_by_service()?, now_us(), out)
}

/// Prints the metrics.
pub(super) fn metrics(out: &mut dyn Write) -> Result<()> {
    out.write_all(call("Metrics", &())?.as_bytes())?;
    Ok(())
}

/// Has the service undo what it has placed.
pub(super) fn restore(out: &mut dyn Write) -> Result<()> {
    said(&call("Restore", &())?, out)
}

fn said(answer: &str, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{}", sanitize(answer))?;
    Ok(())
}

/// What is placed now.
fn placed(out: &mut dyn Write) -> Result<()> {
    for group in shown_by_service()?.groups {
        if let Some(cpus) = &group.cpus {
            writeln!(out, "  {} is on CPUs {}", shown(&group.job), shown(cpus))?;
        }
    }
    Ok(())
}

fn show(status: &Shown, now_us: u64, out: &mut dyn Write) -> Result<()> {
    let since = duration::span(now_us.saturating_sub(status.since_us));
    writeln!(
        out,
        "{} since {since}: {}",
        shown(&status.mode),
        shown(&status.reason)
    )?;
    writeln!(out, "counters: {}", shown(&status.pmu))?;
    if status.gain > 0.0 {
        writeln!(out, "gain: {:.1} %", 100.0 * status.gain)?;
    }
    for group in &status.groups {
        let speed = match (group.speed, &group.unavailable) {
            (Some(speed), _) => format!("speed {speed:.2}"),
            (None, Some(why)) => format!("speed unavailable: {}", shown(why)),
            (None, None) => "not counted yet".to_owned(),
        };
        let place = match (&group.cpus, &group.left_alone) {
            (Some(cpus), _) => format!("on CPUs {}", shown(cpus)),
            (None, Some(why)) => format!("left alone: {}", shown(why)),
            (None, None) => "runs where the kernel wants".to_owned(),
        };
        writeln!(
            out,
            "  {}: {:.2} CPUs, {} workers, {speed}; {place}",
            shown(&group.job),
            group.busy,
            group.workers
        )?;
        if let Some(solo) = group.solo {
            writeln!(out, "    alone: {solo:.2} instructions per cycle")?;
        }
        for (beside, slowdown) in &group.slowdown {
            let lost = 100.0 * slowdown;
            writeln!(out, "    beside {}: {lost:.0} % slower", shown(beside))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::daemon::GroupStatus;

    #[test]
    fn each_group_is_shown_with_its_speed_and_place_or_why_there_is_none() {
        let group = |job: &str| GroupStatus {
            job: job.to_owned(),
            group: format!("/{job}"),
            busy: 1.02,
            workers: 1,
            left_alone: None,
            speed: None,
            unavailable: None,
            solo: None,
            slowdown: BTreeMap::new(),
            cpus: None,
        };
        let placed = GroupStatus {
            speed: Some(1.234),
            solo: Some(1.5),
            slowdown: [("b.service".to_owned(), 0.18)].into(),
            cpus: Some("0,2".to_owned()),
            ..group("a.service")
        };
        let alone = GroupStatus {
            left_alone: Some("excluded".to_owned()),
            unavailable: Some("it has ended".to_owned()),
            ..group("b.service")
        };
        let status = Shown {
            mode: "active".to_owned(),
            reason: "5.0 % better".to_owned(),
            pmu: "ok".to_owned(),
            gain: 0.05,
            since_us: 0,
            groups: vec![placed, alone, group("c.service")],
        };
        let mut out = Vec::new();
        show(&status, 65_000_000, &mut out).unwrap();
        let expected = "\
active since 1m 5s: 5.0 % better
counters: ok
gain: 5.0 %
  a.service: 1.02 CPUs, 1 workers, speed 1.23; on CPUs 0,2
    alone: 1.50 instructions per cycle
    beside b.service: 18 % slower
  b.service: 1.02 CPUs, 1 workers, speed unavailable: it has ended; left alone: excluded
  c.service: 1.02 CPUs, 1 workers, not counted yet; runs where the kernel wants
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
