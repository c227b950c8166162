//! `auto-ext trials`: what trials found on this machine, each of their pairs, and having it forgotten.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use auto_ext_evidence::Better;
use auto_ext_service::atomic_file;
use auto_ext_service::clock::{now_us, utc};
use auto_ext_service::duration::span;
use auto_ext_service::sanitize::{sanitize, sanitize_json};
use auto_ext_trials::{ClassStatus, Closed, JudgedBy, PairEnd, PairRecord};

use super::client::Client;
use super::{style, trials_files};
use crate::api::trials::{ClassLearned, Learned};
use crate::daemon::state_directory;
use crate::persistence::trial_store::pair_files;

/// How much of a file with pairs is read, in bytes: they are put aside at half of that.
const MAX_PAIRS: u64 = 2 << 20;

/// What is asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Show each pair that was kept of this class, the newest last; needs no daemon
    #[arg(long, value_name = "CLASS")]
    pairs: Option<String>,
    /// Forget what was found for this class, or for all
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = "", conflicts_with = "pairs")]
    forget: Option<String>,
    /// Write what was found on this machine to this file, a new one or `-`, for other machines of the same kind; needs no daemon
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pairs", "forget", "json"])]
    export: Option<PathBuf>,
    /// Take in what another machine with the same processor, kernel and builds of schedulers exported: until it is found out here, it says
    /// in which order schedulers are tried, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pairs", "forget", "export", "json"])]
    import: Option<PathBuf>,
    /// As one JSON object; with `--pairs` one for each pair
    #[arg(long, conflicts_with = "forget")]
    json: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let out = &mut style::stdout();
    if let Some(class) = &options.pairs {
        let pairs = pairs(&state_directory(), class);
        return show_pairs(out, &pairs, options.json);
    }
    if let Some(file) = &options.export {
        trials_files::export(file)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = &options.import {
        writeln!(out, "{}", sanitize(&trials_files::import(file).await?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let client = Client::connect().await?;
    if let Some(class) = &options.forget {
        let () = client.call("Forget", class).await?;
        let of = if class.is_empty() {
            "all classes"
        } else {
            class
        };
        writeln!(out, "what was found for {} is forgotten", sanitize(of))?;
        return Ok(ExitCode::SUCCESS);
    }
    let learned: String = client.call("Trials", &()).await?;
    if options.json {
        writeln!(out, "{learned}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut learned = serde_json::from_str(&learned)?;
    sanitize_json(&mut learned);
    let learned: Learned = serde_json::from_value(learned)?;
    for [class, now, against, evidence, since] in table(&learned.classes, now_us()) {
        writeln!(
            out,
            "{class:<12} {now:<12} {against:<30} {evidence:<34} {since}"
        )?;
    }
    if learned.classes.is_empty() {
        writeln!(
            out,
            "No rule of the policy has anything to try, and nothing was found."
        )?;
    }
    if !learned.no_trial.is_empty() {
        writeln!(out, "\nNo trial now: {}", learned.no_trial.join("; "))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The pairs of a class that were kept, the oldest first; nothing of what cannot be read.
fn pairs(directory: &Path, class: &str) -> Vec<PairRecord> {
    let texts = pair_files(directory).into_iter();
    let texts = texts.filter_map(|path| atomic_file::read(&path, MAX_PAIRS).ok());
    let pairs = texts.flat_map(|bytes| {
        let lines = bytes.split(|byte| *byte == b'\n');
        let pairs = lines.filter_map(|line| serde_json::from_slice::<PairRecord>(line).ok());
        pairs.collect::<Vec<_>>()
    });
    pairs.filter(|pair| pair.key.class == class).collect()
}

fn show_pairs(out: &mut impl Write, pairs: &[PairRecord], json: bool) -> anyhow::Result<ExitCode> {
    for pair in pairs {
        if json {
            writeln!(out, "{}", serde_json::to_string(pair)?)?;
        } else {
            writeln!(out, "{}", sanitize(&pair_text(pair)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pair_text(pair: &PairRecord) -> String {
    let at = utc(u64::try_from(pair.at.as_micros()).unwrap_or(u64::MAX));
    let scheduler = pair.key.scheduler.as_ref();
    let scheduler = scheduler.map_or("kernel", |build| build.command.as_str());
    let ratio = pair.ratio.map_or_else(|| "-".to_owned(), percent);
    let end = match &pair.end {
        PairEnd::Kept => {
            let guards = pair.guards.iter();
            let guards =
                guards.map(|(guard, ratio)| format!("{} {}", guard.name(), percent(*ratio)));
            guards.collect::<Vec<_>>().join(", ")
        }
        PairEnd::Lost(why) => format!("lost: {why}"),
        PairEnd::Dropped(why) => format!("dropped: {why}"),
    };
    let (better, worse) = (pair.e_better, pair.e_worse);
    format!("{at}  {scheduler:<14} {ratio:>8}  better E={better:.2}, worse E={worse:.2}  {end}")
}

/// The rows, with a heading.
fn table(classes: &[ClassLearned], now: u64) -> Vec<[String; 5]> {
    if classes.is_empty() {
        return Vec::new();
    }
    let heading = ["class", "now", "against kernel", "evidence", "since"];
    let mut rows = vec![heading.map(str::to_owned)];
    for ClassLearned {
        class,
        now: runs,
        found,
    } in classes
    {
        let compared = found.iter().filter(|found| found.metric.is_some());
        let mut of_class: Vec<_> = compared
            .map(|found| {
                let since = found.since.map_or_else(
                    || "-".to_owned(),
                    |since| span(now.saturating_sub(since.saturating_mul(1_000_000))),
                );
                (against(found), evidence(found), since)
            })
            .collect();
        // Of a class that is too noisy that is all there is to say.
        let noise = found.iter().find(|found| found.metric.is_none());
        let noise = noise.and_then(|noise| noise.benched_for.clone());
        if of_class.is_empty() || noise.is_some() {
            let evidence = noise.unwrap_or_else(|| "-".to_owned());
            of_class.push(("not tried".to_owned(), evidence, "-".to_owned()));
        }
        for (number, (against, evidence, since)) in of_class.into_iter().enumerate() {
            let only_first = |text: &String| {
                if number == 0 {
                    text.clone()
                } else {
                    String::new()
                }
            };
            rows.push([
                only_first(class),
                only_first(runs),
                against,
                evidence,
                since,
            ]);
        }
    }
    rows
}

/// What a scheduler did to what it is to be better in: `scx_flash: waits 46 % less`.
fn against(found: &ClassStatus) -> String {
    let ClassStatus {
        scheduler,
        effect,
        metric,
        ..
    } = found;
    let under = found
        .profile
        .map(|profile| format!(" ({})", profile.name()));
    let scheduler = format!("{scheduler}{}", under.unwrap_or_default());
    let (Some(effect), Some(metric)) = (effect, metric) else {
        return scheduler;
    };
    let by = found.compared.unwrap_or(JudgedBy::Metric(*metric));
    let times = match by.better() {
        Better::Lower => (-effect).exp(),
        Better::Higher => effect.exp(),
    };
    let change = 100.0 * (times - 1.0);
    let (change, than) = match by {
        // Of a number that a command prints, only how good it is is known.
        JudgedBy::Number if change < 0.0 => (-change, "worse"),
        JudgedBy::Number => (change, "better"),
        _ if change < 0.0 => (-change, "less"),
        _ => (change, "more"),
    };
    format!("{scheduler}: {} {change:.1} % {than}", by.name())
}

/// What is known of a scheduler by its pairs.
pub(super) fn evidence(found: &ClassStatus) -> String {
    let ClassStatus { pairs, .. } = found;
    let counted = if *pairs == 1 { "pair" } else { "pairs" };
    let e = |value: Option<f64>| value.map_or_else(String::new, |e| format!("E={e:.0}, "));
    if let Some(why) = &found.benched_for {
        let until = found.benched_until.unwrap_or_default();
        return format!(
            "benched until {}: {why}",
            utc(until.saturating_mul(1_000_000))
        );
    }
    if found.is_imported {
        return format!("imported, open ({pairs} {counted} elsewhere)");
    }
    let counted = match found.compared {
        Some(_) => format!("{counted} of a comparison"),
        None => counted.to_owned(),
    };
    match (found.is_proven, found.closed) {
        (true, _) => format!("better ({}{pairs} {counted})", e(found.e_better)),
        (false, Some(Closed::Worse)) => format!("worse ({}{pairs} {counted})", e(found.e_worse)),
        (false, Some(Closed::NoDifference)) => format!("no difference ({pairs} {counted})"),
        (false, None) => format!("open ({pairs} {counted})"),
    }
}

/// How many times as good, as a logarithm, in percent with a sign.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:+.1} %", 100.0 * ratio.exp_m1())
}

#[cfg(test)]
mod tests {
    use auto_ext_policy::Goal;
    use auto_ext_trials::Metric;

    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    fn found(scheduler: &str, metric: Option<Metric>, effect: f64) -> ClassStatus {
        ClassStatus {
            class: "a".into(),
            goal: Goal::Latency,
            scheduler: scheduler.into(),
            profile: None,
            effect: Some(effect),
            metric,
            compared: None,
            is_imported: false,
            pairs: 9,
            e_better: Some(212.4),
            e_worse: Some(0.1),
            nearest_guard: None,
            is_proven: false,
            since: None,
            closed: None,
            benched_for: None,
            benched_until: None,
            last: Vec::new(),
        }
    }

    #[test]
    fn a_class_has_a_row_for_each_scheduler_that_was_tried() {
        let class = |class: &str, found| ClassLearned {
            class: class.into(),
            now: "bpfland".into(),
            found,
        };
        let proven = ClassStatus {
            is_proven: true,
            since: Some(NOW / 1_000_000 - 3 * 86_400),
            ..found("scx_bpfland", Some(Metric::Wait), (1.0f64 / 0.54).ln())
        };
        let worse = ClassStatus {
            closed: Some(Closed::Worse),
            e_worse: Some(12.0),
            ..found("scx_flash", Some(Metric::Completions), 0.9f64.ln())
        };
        let benched = ClassStatus {
            benched_for: Some("a task waited 1.4 s".into()),
            benched_until: Some(NOW / 1_000_000),
            ..found("scx_cosmos", Some(Metric::Wait), 0.0)
        };
        let noise = ClassStatus {
            benched_for: Some("too noisy here (sd 0.31)".into()),
            ..found("kernel", None, 0.1)
        };
        let quiet = found("kernel", None, 0.1);
        let rows = table(
            &[
                class("interactive", vec![quiet, proven, worse, benched]),
                class("io", vec![noise]),
                class("net", Vec::new()),
            ],
            NOW,
        );
        let expected = [
            ["class", "now", "against kernel", "evidence", "since"],
            [
                "interactive",
                "bpfland",
                "scx_bpfland: waits 46.0 % less",
                "better (E=212, 9 pairs)",
                "3d 0h",
            ],
            [
                "",
                "",
                "scx_flash: completions 10.0 % less",
                "worse (E=12, 9 pairs)",
                "-",
            ],
            [
                "",
                "",
                "scx_cosmos: waits 0.0 % more",
                "benched until 2027-01-15T08:00:00Z: a task waited 1.4 s",
                "-",
            ],
            [
                "io",
                "bpfland",
                "not tried",
                "too noisy here (sd 0.31)",
                "-",
            ],
            ["net", "bpfland", "not tried", "-", "-"],
        ];
        assert_eq!(rows, expected.map(|row| row.map(str::to_owned)));
        assert!(table(&[], NOW).is_empty());
    }

    #[test]
    fn what_a_comparison_or_others_found_is_told_as_such() {
        let compared = ClassStatus {
            compared: Some(JudgedBy::Time),
            is_proven: true,
            ..found("scx_lavd", Some(Metric::Wait), 0.04)
        };
        let imported = ClassStatus {
            is_imported: true,
            ..found("scx_tickless", Some(Metric::Wait), 0.04)
        };
        for (found, says) in [
            (
                compared,
                [
                    "scx_lavd: the time of a command 3.9 % less",
                    "better (E=212, 9 pairs of a comparison)",
                ],
            ),
            (
                imported,
                [
                    "scx_tickless: waits 3.9 % less",
                    "imported, open (9 pairs elsewhere)",
                ],
            ),
        ] {
            assert_eq!([against(&found), evidence(&found)], says);
        }
    }

    #[test]
    fn pairs_are_those_of_the_class_and_what_is_no_pair_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let [earlier, path] = pair_files(directory.path());
        let line = |class: &str, at: u32| {
            format!(
                r#"{{"at": {at}, "class": "{class}", "goal": "latency", "scheduler": {{"command": "scx_flash", "args": [], "build": "1"}},
                "opponent": null, "kernel": "7", "cpu": "x", "cpus": 2, "smt": false, "power": "ac", "profile": null, "metric": 1,
                "candidate_first": true, "candidate": null, "incumbent": null, "ratio": 0.5, "guards": {{"user": -0.01}},
                "e_better": 1.5, "e_worse": 0.5, "end": {{"end": "kept"}}}}"#
            )
            .replace('\n', " ")
        };
        std::fs::write(&earlier, format!("{}\n{{\n", line("a", 1))).unwrap();
        std::fs::write(&path, format!("{}\n{}\n", line("b", 2), line("a", 3))).unwrap();
        let found = pairs(directory.path(), "a");
        let at: Vec<u64> = found.iter().map(|pair| pair.at.as_secs()).collect();
        assert_eq!(at, [1, 3]);
        let expected = "1970-01-01T00:00:03Z  scx_flash       +64.9 %  better E=1.50, worse E=0.50  CPU time of programs -1.0 %";
        assert_eq!(pair_text(&found[1]), expected);
        assert!(pairs("/nonexistent".as_ref(), "a").is_empty());
    }
}
