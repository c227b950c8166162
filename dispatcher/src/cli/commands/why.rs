//! `auto-ext why`: the last decision, the numbers behind it, what would change it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anstyle::Style;
use auto_ext_core::Explanation;
use auto_ext_service::sanitize::sanitize_json;
use auto_ext_trials::TrialStatus;

use super::client::Client;
use super::style::{self, STRONG, Styled, WARNING};
use super::trials::{evidence, percent};

/// Asks the daemon and prints.
pub(crate) async fn run(json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::connect().await?;
    let explanation: String = client.call("Why", &()).await?;
    let out = &mut style::stdout();
    if json {
        writeln!(out, "{explanation}")?;
    } else {
        let mut explanation = serde_json::from_str(&explanation)?;
        sanitize_json(&mut explanation);
        write_text(out, &serde_json::from_value(explanation)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The explanation as text without styles.
pub(crate) fn text(why: &Explanation) -> String {
    let mut text = Vec::new();
    // Writing into memory does not fail.
    let _ = write_text(&mut text, why);
    anstream::adapter::strip_bytes(&text)
        .into_vec()
        .try_into()
        .unwrap_or_default()
}

fn write_text(out: &mut impl Write, why: &Explanation) -> io::Result<()> {
    let class_for = humantime::format_duration(Duration::from_secs(why.class_for));
    let desired = Styled(STRONG, &why.desired);
    writeln!(out, "{desired} ({}): {}", why.mode, why.because)?;
    if let Some(waits) = &why.waits {
        writeln!(out, "  {}: {waits}", Styled(WARNING, "not yet"))?;
    }
    for rejected in &why.rejected {
        let not = Styled(WARNING, format!("not {}", rejected.candidate));
        writeln!(out, "  {not}: {}", rejected.why)?;
    }
    writeln!(out, "class {} for {class_for}", why.class)?;
    writeln!(out, "\nRules, the first that holds wins:")?;
    for rule in &why.rules {
        let mark = if rule.holds {
            Styled(STRONG, "holds")
        } else {
            Styled(Style::new(), "-")
        };
        writeln!(out, "  {mark:<6}{:<14} {}", rule.class, rule.precedence)?;
        for condition in &rule.conditions {
            let mark = if condition.holds { "yes" } else { "no" };
            writeln!(
                out,
                "          {mark:<4}{:<18} {}",
                condition.condition, condition.now
            )?;
        }
    }
    write_trials(out, why)?;
    if !why.would_change.is_empty() {
        writeln!(out, "\nThis would change it:")?;
        for change in &why.would_change {
            writeln!(out, "  {change}")?;
        }
    }
    let (used, limit) = why.switches;
    writeln!(out, "\n{used} of {limit} switches of this hour are used")?;
    match why.compared {
        (0, _) => Ok(()),
        (used, limit) => writeln!(out, "{used} of {limit} for comparisons"),
    }
}

/// The trial that is on, or why none is, and what was found for the class.
fn write_trials(out: &mut impl Write, why: &Explanation) -> io::Result<()> {
    if let Some(trial) = &why.trial {
        let TrialStatus {
            candidate,
            runs,
            turn,
            of_turns,
            turn_ends_in,
            champion,
            ..
        } = trial;
        let what = candidate.as_ref().map_or_else(
            || format!("{runs} alone"),
            |candidate| format!("{candidate} against kernel"),
        );
        writeln!(
            out,
            "\nTrial: {what}, turn {turn} of {of_turns}, {runs} for {turn_ends_in} s more; {champion} runs after it"
        )?;
    } else if !why.no_trial.is_empty() {
        writeln!(out, "\nNo trial: {}", why.no_trial.join("; "))?;
    }
    let compared = why.found.iter().filter(|found| found.metric.is_some());
    for (number, found) in compared.enumerate() {
        if number == 0 {
            writeln!(out, "\nTrials found:")?;
        }
        writeln!(out, "  {}: {}", found.scheduler, evidence(found))?;
        let last: Vec<String> = found.last.iter().map(|ratio| percent(*ratio)).collect();
        if !last.is_empty() {
            writeln!(out, "          last pairs: {}", last.join(", "))?;
        }
        if let Some((metric, nearness)) = found.nearest_guard {
            let nearness = 100.0 * nearness.max(0.0);
            writeln!(
                out,
                "          nearest guard: {}, {nearness:.0} % of what would be too much",
                metric.name()
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use auto_ext_core::ConditionNow;
    use auto_ext_core::Rejected;
    use auto_ext_core::RuleNow;

    #[test]
    fn the_text_says_what_runs_why_and_what_would_change_it() {
        let why = Explanation {
            mode: "auto".into(),
            class: "network".into(),
            class_for: 90,
            desired: "kernel".into(),
            because: "class network (net high)".into(),
            rejected: vec![Rejected {
                candidate: "cosmos".into(),
                why: "is not installed".into(),
            }],
            waits: Some("bpfland stays until it has run for 15s".into()),
            switching: false,
            rules: vec![RuleNow {
                class: "network".into(),
                precedence: "measured".into(),
                holds: true,
                conditions: vec![ConditionNow {
                    condition: "net high".into(),
                    holds: true,
                    now: "0.31, low at 0.05".into(),
                }],
                candidates: vec!["cosmos".into(), "kernel".into()],
            }],
            signals: Vec::new(),
            would_change: vec!["another class when no longer net high: 0.31, low at 0.05".into()],
            switches: (3, 30),
            compared: (0, 240),
            trial: None,
            no_trial: Vec::new(),
            found: Vec::new(),
        };
        assert_eq!(
            text(&why),
            "\
kernel (auto): class network (net high)
  not yet: bpfland stays until it has run for 15s
  not cosmos: is not installed
class network for 1m 30s

Rules, the first that holds wins:
  holds network        measured
          yes net high           0.31, low at 0.05

This would change it:
  another class when no longer net high: 0.31, low at 0.05

3 of 30 switches of this hour are used
"
        );
    }
}
