//! The conditions of a rule, `when`: signals, processes, cgroups, power and profile.

use auto_ext_signals::{Level, Signal};

use crate::conditions::{Conditions, Power, Profile};
use crate::error::{Problems, quote};
use crate::fields::Field;
use crate::pattern::{Pattern, PatternError};
use crate::suggest::instead;
use crate::yaml::{Node, Value};

/// The conditions besides those on signals, which have the names of these.
pub(super) const KEYS: [&str; 4] = ["process", "cgroup", "power", "profile"];

/// What a signal can be asked for.
pub(super) const LEVELS: [Level; 2] = [Level::High, Level::Low];

/// The most patterns of one condition.
pub(super) const MAX_PATTERNS: usize = 100;
/// The longest pattern, in bytes.
pub(super) const MAX_PATTERN: usize = 256;

pub(super) fn conditions(problems: &mut Problems, node: &Node) -> Option<Conditions> {
    let fields = problems.mapping(node, "`when`", "{net: high}")?;
    if fields.entries.is_empty() {
        let message = "`when` has no condition; remove it from a rule that always matches";
        problems.add(node.at, message);
    }
    let mut conditions = Conditions::default();
    for field in &fields.entries {
        condition(problems, field, &mut conditions);
    }
    Some(conditions)
}

fn condition(problems: &mut Problems, field: &Field<'_>, conditions: &mut Conditions) {
    let what = quote(field.key);
    match field.key {
        "process" => {
            let example = r#"[gamescope, "*.exe"]"#;
            conditions.processes =
                patterns(problems, field.node, &what, example, Pattern::for_processes);
        }
        "cgroup" => {
            let example = r#"[ssh.service, "docker-*.scope"]"#;
            conditions.cgroups =
                patterns(problems, field.node, &what, example, Pattern::for_cgroups);
        }
        "power" => {
            conditions.power = problems.choice(field.node, &what, &Power::ALL, Power::name);
        }
        "profile" => {
            conditions.profile = problems.choice(field.node, &what, &Profile::ALL, Profile::name);
        }
        key => match key.parse::<Signal>() {
            Ok(signal) => {
                let level = problems.choice(field.node, &what, &LEVELS, Level::name);
                conditions.levels.extend(level.map(|level| (signal, level)));
            }
            Err(_) => problems.add_with(field.at, || {
                let names = Signal::ALL.into_iter().map(Signal::name).chain(KEYS);
                format!(
                    "unknown condition {what}{}",
                    instead(key, names, "valid here:")
                )
            }),
        },
    }
}

/// The patterns in a list, or the one that stands there without a list around it.
fn patterns(
    problems: &mut Problems,
    node: &Node,
    what: &str,
    example: &str,
    new: fn(&str) -> Result<Pattern, PatternError>,
) -> Vec<Pattern> {
    let items = match &node.value {
        Value::Text { .. } => Some(std::slice::from_ref(node)),
        _ => problems.list(node, what, MAX_PATTERNS, example),
    };
    let Some(items) = items else {
        return Vec::new();
    };
    if items.is_empty() {
        let message = format!("{what} has no pattern; write for example `{example}`");
        problems.add(node.at, message);
    }
    items
        .iter()
        .filter_map(|item| {
            let text = problems.text(item, "a pattern", "text such as `*.exe`", MAX_PATTERN)?;
            new(text)
                .map_err(|error| {
                    let shown = item.value.shown();
                    problems.add(item.at, format!("{shown} cannot be a pattern: {error}"));
                })
                .ok()
        })
        .collect()
}
