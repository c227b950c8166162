//! From the text of the file to its meaning: keys, what their values may be, and what is said of others.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use auto_ext_service::config_file::error::{ConfigError, Problems, judge, quote};
use auto_ext_service::config_file::fields::{Fields, MAX_WORD};
use auto_ext_service::config_file::format::Format;
use auto_ext_service::config_file::tree;
use auto_ext_service::config_file::yaml::{Node, Value};
use glob::Pattern;

use crate::core::Act;
use crate::counters::Metric;
use crate::groups::GroupBy;

use super::settings::Config;

/// The version of the format.
pub(super) const VERSION: &str = "1";
/// The keys, in the order in which they are documented.
pub(super) const KEYS: [&str; 11] = [
    "version",
    "act",
    "group_by",
    "long_running",
    "exclude",
    "protect",
    "weights",
    "margin",
    "hold",
    "with_sched_ext",
    "metric",
];
/// The words for no scheduler.
pub(super) const NEVER: &str = "never";
/// How many items a list or mapping may have, and how long a pattern may be, in bytes.
pub(super) const MAX_ITEMS: usize = 256;
pub(super) const MAX_PATTERN: usize = 4096;
/// What a job may count.
pub(super) const WEIGHT: std::ops::RangeInclusive<f64> = 0.1..=10.0;
/// What may be asked to be gained, in percent.
pub(super) const MARGIN: std::ops::RangeInclusive<f64> = 0.5..=50.0;
/// How long a group may have to run, at most.
pub(super) const MAX_LONG_RUNNING: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long what was adopted may stay: a trial comes once an hour at most.
pub(super) const HOLD: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(7 * 24 * 3600);

const FORMAT: Format = Format {
    name: "a configuration",
    least: "`version: 1`",
};

pub(super) const ACTS: [Act; 2] = [Act::Observe, Act::Trial];
pub(super) const GROUPS: [GroupBy; 2] = [GroupBy::Cgroup, GroupBy::ProcessGroup];
pub(super) const METRICS: [Metric; 2] = [Metric::Ipc, Metric::Rate];

pub(super) fn act_name(act: Act) -> &'static str {
    match act {
        Act::Observe => "observe",
        Act::Trial => "trial",
    }
}

pub(super) fn group_name(group_by: GroupBy) -> &'static str {
    match group_by {
        GroupBy::Cgroup => "cgroup",
        GroupBy::ProcessGroup => "process-group",
    }
}

pub(super) fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Ipc => "ipc",
        Metric::Rate => "rate",
    }
}

/// What a text says that is called `path` in messages.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let mut files = Problems::of_each(vec![path.to_owned()]);
    let mut config = Config::default();
    for problems in &mut files {
        match tree(text, FORMAT) {
            Ok(node) => root(problems, &node, &mut config),
            Err(problem) => problems.add_problem(problem),
        }
    }
    judge(files).map(|_| config)
}

fn root(problems: &mut Problems, node: &Node, config: &mut Config) {
    let Some(fields) = problems.fields(node, "the configuration", "version: 1", &KEYS) else {
        return;
    };
    if let Some(node) = problems.required(&fields, "version", "version: 1")
        && let Some(version) = problems.text(node, "`version`", "`1`", MAX_WORD)
        && version != VERSION
    {
        let message = format!("`version` is {}; this is for `{VERSION}`", quote(version));
        problems.add(node.at, message);
    }
    words(problems, &fields, config);
    if let Some(node) = fields.get_filled("long_running")
        && let Some(time) =
            problems.duration(node, "`long_running`", Duration::ZERO, MAX_LONG_RUNNING)
    {
        config.long_running = time;
    }
    if let Some(node) = fields.get_filled("hold")
        && let Some(time) = problems.duration(node, "`hold`", *HOLD.start(), *HOLD.end())
    {
        config.hold = time;
    }
    if let Some(node) = fields.get_filled("margin")
        && let Some(part) = margin(problems, node)
    {
        config.margin = part;
    }
    for (key, patterns) in [
        ("exclude", &mut config.exclude),
        ("protect", &mut config.protect),
    ] {
        if let Some(node) = fields.get_filled(key) {
            *patterns = globs(problems, node, &format!("`{key}`"));
        }
    }
    if let Some(node) = fields.get_filled("weights") {
        config.weights = weights(problems, node);
    }
    if let Some(node) = fields.get_filled("with_sched_ext") {
        config.with_sched_ext = schedulers(problems, node);
    }
}

/// The keys whose values are one of a few words.
fn words(problems: &mut Problems, fields: &Fields<'_>, config: &mut Config) {
    if let Some(node) = fields.get_filled("act")
        && let Some(act) = problems.choice(node, "`act`", &ACTS, act_name)
    {
        config.act = act;
    }
    if let Some(node) = fields.get_filled("group_by")
        && let Some(group_by) = problems.choice(node, "`group_by`", &GROUPS, group_name)
    {
        config.group_by = group_by;
    }
    if let Some(node) = fields.get_filled("metric")
        && let Some(metric) = problems.choice(node, "`metric`", &METRICS, metric_name)
    {
        config.metric = metric;
    }
}

/// A part that is written in percent.
fn margin(problems: &mut Problems, node: &Node) -> Option<f64> {
    let text = problems.text(node, "`margin`", "a share such as `2%`", MAX_WORD)?;
    let percent: Option<f64> = text.strip_suffix('%').and_then(|text| text.parse().ok());
    let valid = percent.filter(|percent| MARGIN.contains(percent));
    if valid.is_none() {
        let (min, max) = (MARGIN.start(), MARGIN.end());
        let shown = quote(text);
        let message =
            format!("`margin` must be a share from {min}% to {max}% such as `2%`, not {shown}");
        problems.add(node.at, message);
    }
    valid.map(|percent| percent / 100.0)
}

fn globs(problems: &mut Problems, node: &Node, what: &str) -> Vec<Pattern> {
    let items = problems.list(node, what, MAX_ITEMS, "[nginx, \"postgres*\"]");
    let mut patterns = Vec::new();
    for item in items.into_iter().flatten() {
        let text = problems.text(item, "a pattern", "a text", MAX_PATTERN);
        match text.map(Pattern::new) {
            Some(Ok(pattern)) => patterns.push(pattern),
            Some(Err(error)) => problems.add(item.at, format!("this is no pattern: {error}")),
            None => {}
        }
    }
    patterns
}

fn weights(problems: &mut Problems, node: &Node) -> BTreeMap<String, f64> {
    let mut weights = BTreeMap::new();
    let Some(fields) = problems.mapping(node, "`weights`", "nginx: 2") else {
        return weights;
    };
    if let Some(excess) = fields.entries.get(MAX_ITEMS) {
        problems.add(
            excess.at,
            format!("`weights` has more than {MAX_ITEMS} items"),
        );
    }
    for field in &fields.entries {
        let what = format!("the weight of {}", quote(field.key));
        match problems.number(field.node, &what) {
            Some(weight) if WEIGHT.contains(&weight) => {
                weights.insert(field.key.to_owned(), weight);
            }
            Some(_) => {
                let (min, max) = (WEIGHT.start(), WEIGHT.end());
                problems.add(field.node.at, format!("{what} must be from {min} to {max}"));
            }
            None => {}
        }
    }
    weights
}

fn schedulers(problems: &mut Problems, node: &Node) -> Vec<String> {
    if let Value::Text { text, .. } = &node.value
        && text == NEVER
    {
        return Vec::new();
    }
    let what = "`with_sched_ext`, where it is not `never`,";
    let items = problems.list(node, what, MAX_ITEMS, "[bpfland]");
    let mut names = Vec::new();
    for item in items.into_iter().flatten() {
        let name = problems.text(item, "a scheduler", "a name", MAX_WORD);
        names.extend(name.map(str::to_owned));
    }
    names
}
