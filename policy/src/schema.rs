//! What the keys and values of a policy mean, and their ranges: the files as a whole, `signals`
//! and `stability`. The other sections have modules of their own.

use std::time::Duration;

use auto_ext_signals::{Signal, Threshold, Thresholds};

use crate::compat::compat;
use crate::lists::{self, ListFiles, lists};
use crate::metrics::metrics;
use crate::policy::{Foreign, Policy, Stability};
use crate::rules::{Declared, Rules};
use crate::schedulers::{self, schedulers};
use crate::trials::trials;
use auto_ext_service::config_file::error::{Problems, quote};
use auto_ext_service::config_file::fields::Fields;
use auto_ext_service::config_file::yaml::{Node, Value};

/// The version of the format that is read.
pub(super) const VERSION: u32 = 1;

/// The keys of a policy.
pub(super) const KEYS: [&str; 11] = [
    "version",
    "window",
    "foreign",
    "signals",
    "schedulers",
    "lists",
    "rules",
    "stability",
    "metrics",
    "compat",
    "trials",
];
/// The keys of a file beside it; each of them may also be missing there, but for the first.
pub(super) const PART_KEYS: [&str; 4] = ["version", "schedulers", "lists", "rules"];
/// The keys of a signal.
pub(super) const THRESHOLD_KEYS: [&str; 3] = ["high", "low", "settle"];
/// The keys of `stability`.
pub(super) const STABILITY_KEYS: [&str; 3] = ["min_run", "settle", "max_switches_per_hour"];

/// The shortest window in which the load is measured.
pub const MIN_WINDOW: Duration = Duration::from_millis(50);
/// The longest window in which the load is measured.
pub const MAX_WINDOW: Duration = Duration::from_secs(10);
pub(super) const MAX_SETTLE: Duration = Duration::from_secs(60);
pub(super) const MAX_MIN_RUN: Duration = Duration::from_secs(3600);
/// A scheduler's start, and the way back.
pub(super) const MIN_SWITCHES: u32 = 2;
pub(super) const MAX_SWITCHES: u32 = 3600;

/// The policy in `roots`, of which the first is that of the file with the settings. It is meaningless when a problem has
/// been reported.
pub(super) fn policy(
    problems: &mut [Problems],
    roots: &[Node],
    list_files: &mut ListFiles<'_>,
) -> Policy {
    let mut policy = Policy::default();
    let fields: Vec<Option<Fields<'_>>> = (0..)
        .zip(problems.iter_mut().zip(roots))
        .map(|(file, (problems, root))| {
            let mut fields = entries(problems, root)?;
            match file {
                0 => settings(problems, &mut fields, &mut policy),
                _ => check_part(problems, &mut fields),
            }
            Some(fields)
        })
        .collect();
    // What a file defines that cannot be understood, the rules of others may name.
    let Some(fields) = fields.into_iter().collect::<Option<Vec<_>>>() else {
        return policy;
    };
    let mut declared = Declared::default();
    for (problems, fields) in problems.iter_mut().zip(&fields) {
        if let Some(node) = fields.get_filled("schedulers") {
            schedulers(problems, node, &mut declared.schedulers);
        }
        if let Some(node) = fields.get_filled("lists") {
            lists(problems, node, list_files, &mut declared.lists);
        }
    }
    let mut rules = Rules::default();
    for (file, (problems, fields)) in (0..).zip(problems.iter_mut().zip(&fields)) {
        let node = match file {
            0 => problems.required(fields, "rules", "rules: [{class: idle, use: [kernel]}]"),
            _ => fields.get_filled("rules"),
        };
        if let Some(node) = node {
            rules.add(problems, node, &declared);
        }
    }
    policy.rules = rules.finish(problems);
    schedulers::warn_of_unused(problems, &declared.schedulers, &policy.rules);
    lists::warn_of_unused(problems, &declared.lists, &policy.rules);
    policy.schedulers = declared
        .schedulers
        .into_iter()
        .filter_map(|(name, declaration)| Some((name, declaration.scheduler?)))
        .collect();
    policy
}

/// The entries of a file of a version that is known.
fn entries<'n>(problems: &mut Problems, root: &'n Node) -> Option<Fields<'n>> {
    if let Value::Empty = root.value {
        let message = "the policy is empty; it needs at least `version: 1` and `rules`";
        problems.add(root.at, message);
        return None;
    }
    let fields = problems.mapping(root, "a policy", "version: 1")?;
    version_is_known(problems, &fields).then_some(fields)
}

/// Refuses in a file beside the policy what belongs into the policy.
fn check_part(problems: &mut Problems, fields: &mut Fields<'_>) {
    let is_setting = |key: &str| KEYS.contains(&key) && !PART_KEYS.contains(&key);
    for field in fields.entries.iter().filter(|field| is_setting(field.key)) {
        let (key, first) = (quote(field.key), problems.first_path().display());
        let message = format!(
            "{key} is for all of the policy; move it to {first}: a file beside that holds only \
             `rules`, `lists` and `schedulers`"
        );
        problems.add(field.at, message);
    }
    fields.entries.retain(|field| !is_setting(field.key));
    problems.check_keys(fields, &PART_KEYS);
    problems.required(fields, "version", "version: 1");
}

/// Reads what is for all of the policy.
fn settings(problems: &mut Problems, fields: &mut Fields<'_>, policy: &mut Policy) {
    problems.check_keys(fields, &KEYS);
    problems.required(fields, "version", "version: 1");
    if let Some(node) = fields.get("window")
        && let Some(window) = problems.duration(node, "`window`", MIN_WINDOW, MAX_WINDOW)
    {
        policy.window = window;
    }
    if let Some(node) = fields.get("foreign")
        && let Some(foreign) = problems.choice(node, "`foreign`", &Foreign::ALL, Foreign::name)
    {
        policy.foreign = foreign;
    }
    if let Some(node) = fields.get_filled("signals") {
        signals(problems, node, &mut policy.signals);
    }
    if let Some(node) = fields.get_filled("stability") {
        stability(problems, node, &mut policy.stability);
    }
    if let Some(node) = fields.get_filled("metrics") {
        metrics(problems, node, &mut policy.metrics);
    }
    if let Some(node) = fields.get_filled("compat") {
        compat(problems, node, &mut policy.compat);
    }
    if let Some(node) = fields.get_filled("trials") {
        trials(problems, node, &mut policy.trials);
    }
}

/// Whether the rest of the file can be understood.
fn version_is_known(problems: &mut Problems, fields: &Fields<'_>) -> bool {
    let Some(node) = fields.get("version") else {
        return true;
    };
    if matches!(&node.value, Value::Text { text, plain: true } if *text == VERSION.to_string()) {
        return true;
    }
    let shown = node.value.shown();
    let message = format!("`version` is {shown}, but this auto-ext reads `version: {VERSION}`");
    problems.add(node.at, message);
    false
}

fn signals(problems: &mut Problems, node: &Node, thresholds: &mut Thresholds) {
    let names = Signal::ALL.map(Signal::name);
    let Some(fields) = problems.fields(node, "`signals`", "cpu: {high: 0.9}", &names) else {
        return;
    };
    for field in &fields.entries {
        if let Ok(signal) = field.key.parse()
            && let Some(threshold) = threshold(problems, field.node, signal, thresholds.get(signal))
        {
            thresholds.set(signal, threshold);
        }
    }
}

/// The threshold of `signal`; what is not given is as in `default`.
fn threshold(
    problems: &mut Problems,
    node: &Node,
    signal: Signal,
    default: Threshold,
) -> Option<Threshold> {
    let fields = problems.fields(
        node,
        &quote(signal.name()),
        "{high: 0.9, low: 0.7}",
        &THRESHOLD_KEYS,
    )?;
    let max = max_threshold(signal);
    let mut share = |key: &str, default: f64| {
        let Some(node) = fields.get(key) else {
            return Some(default);
        };
        let number = problems.number(node, &quote(key))?;
        if (0.0..=max).contains(&number) {
            return Some(number);
        }
        let shown = node.value.shown();
        problems.add(
            node.at,
            format!("`{key}` is {shown}; it must be from 0 to {max}"),
        );
        None
    };
    let (high, low) = (share("high", default.high), share("low", default.low));
    let mean_over = match fields.get("settle") {
        Some(node) => problems.duration(node, "`settle`", Duration::ZERO, MAX_SETTLE),
        None => Some(default.mean_over),
    };
    let threshold = Threshold {
        high: high?,
        low: low?,
        mean_over: mean_over?,
    };
    if threshold.low >= threshold.high {
        let shown = |key: &str, value: f64| {
            let origin = if fields.get(key).is_some() {
                ""
            } else {
                ", its default"
            };
            format!("`{key}` ({value}{origin})")
        };
        let at = fields
            .get("low")
            .or(fields.get("high"))
            .map_or(node.at, |node| node.at);
        let (low, high) = (shown("low", threshold.low), shown("high", threshold.high));
        problems.add(at, format!("{low} must be below {high}"));
        return None;
    }
    Some(threshold)
}

/// The highest threshold of `signal`, in its unit.
pub(super) fn max_threshold(signal: Signal) -> f64 {
    // More waiting tasks per CPU than any machine gets near.
    if signal.is_share() { 1.0 } else { 1000.0 }
}

fn stability(problems: &mut Problems, node: &Node, stability: &mut Stability) {
    let fields = problems.fields(node, "`stability`", "{min_run: 15s}", &STABILITY_KEYS);
    let Some(fields) = fields else {
        return;
    };
    if let Some(node) = fields.get("min_run")
        && let Some(min_run) = problems.duration(node, "`min_run`", Duration::ZERO, MAX_MIN_RUN)
    {
        stability.min_run = min_run;
    }
    if let Some(node) = fields.get("settle")
        && let Some(settle) = problems.duration(node, "`settle`", Duration::ZERO, MAX_SETTLE)
    {
        stability.settle = settle;
    }
    if let Some(node) = fields.get("max_switches_per_hour")
        && let Some(switches) = switches(problems, node)
    {
        stability.max_switches_per_hour = switches;
    }
}

fn switches(problems: &mut Problems, node: &Node) -> Option<u32> {
    let what = "`max_switches_per_hour`";
    let number = problems.number(node, what)?;
    let switches = (MIN_SWITCHES..=MAX_SWITCHES).find(|&switches| f64::from(switches) == number);
    if switches.is_none() {
        let shown = node.value.shown();
        let message = format!(
            "{what} is {shown}; it must be a whole number from {MIN_SWITCHES} to {MAX_SWITCHES}"
        );
        problems.add(node.at, message);
    }
    switches
}
