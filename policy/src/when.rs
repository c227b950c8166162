//! The conditions of a rule, `when`: signals, processes, cgroups, power and profile.

use auto_ext_signals::{Level, Signal};

use crate::conditions::{Conditions, Power, Profile};
use crate::descendants::Descendants;
use crate::lists::{self, named};
use crate::pattern::{Pattern, PatternError};
use crate::programs::Programs;
use crate::selection::Selection;
use auto_ext_service::config_file::error::{Problems, quote};
use auto_ext_service::config_file::fields::Field;
use auto_ext_service::config_file::suggest::instead;
use auto_ext_service::config_file::yaml::{Node, Value};

/// The conditions besides those on signals, which have the names of these.
pub(super) const KEYS: [&str; 5] = ["process", "except", "cgroup", "power", "profile"];

/// What a signal can be asked for.
pub(super) const LEVELS: [Level; 2] = [Level::High, Level::Low];

/// The keys of a program that is not told by a pattern.
pub(super) const PROGRAM_KEYS: [&str; 3] = ["list", "program", "descends"];

/// The most patterns of one condition.
pub(super) const MAX_PATTERNS: usize = 100;
/// The longest pattern, in bytes.
pub(super) const MAX_PATTERN: usize = 256;

pub(super) fn conditions(
    problems: &mut Problems,
    node: &Node,
    declared: &lists::Declared,
) -> Option<Conditions> {
    let fields = problems.mapping(node, "`when`", "{net: high}")?;
    if fields.entries.is_empty() {
        let message = "`when` has no condition; remove it from a rule that always matches";
        problems.add(node.at, message);
    }
    let mut conditions = Conditions::default();
    for field in &fields.entries {
        condition(problems, field, declared, &mut conditions);
    }
    if let Some(except) = fields.entries.iter().find(|field| field.key == "except")
        && fields.get("process").is_none()
    {
        let message = "`except` says which programs of `process` do not count, and `process` is \
                       missing; add it, for example `process: \"*.exe\"`";
        problems.add(except.at, message);
    }
    Some(conditions)
}

fn condition(
    problems: &mut Problems,
    field: &Field<'_>,
    declared: &lists::Declared,
    conditions: &mut Conditions,
) {
    let what = quote(field.key);
    match field.key {
        "process" => {
            let example = r#"[gamescope, "*.exe"]"#;
            conditions.processes = selection(problems, field.node, &what, example, declared);
        }
        "except" => {
            let example = "[steam.exe, launcher.exe]";
            conditions.except = selection(problems, field.node, &what, example, declared);
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
        "descends" => {
            let message = "`descends` stands in `process`: write for example \
                           `process: {descends: reaper}`";
            problems.add(field.at, message);
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

/// The patterns, `{list: NAME}` and `{descends: PATTERN}` in a list, or the one that stands there without a list around it.
fn selection(
    problems: &mut Problems,
    node: &Node,
    what: &str,
    example: &str,
    declared: &lists::Declared,
) -> Selection {
    let mut selection = Selection::default();
    for item in items(problems, node, what, example) {
        if let Value::Mapping(_) = item.value {
            mapped(problems, item, declared, &mut selection);
        } else {
            let pattern = pattern(problems, item, Pattern::for_processes);
            selection.programs.patterns.extend(pattern);
        }
    }
    selection
}

/// What a mapping says: a list by its name, or what descends from others.
fn mapped(
    problems: &mut Problems,
    node: &Node,
    declared: &lists::Declared,
    selection: &mut Selection,
) {
    let Some(fields) = problems.fields(node, "programs", "{list: games}", &PROGRAM_KEYS) else {
        return;
    };
    let Some(descends) = fields.get("descends") else {
        if let Some(program) = fields.entries.iter().find(|field| field.key == "program") {
            let message = "`program` stands beside `descends`; write the pattern alone, without \
                           `program`";
            problems.add(program.at, message);
        } else if let Some(list) = fields.get("list") {
            let list = named(problems, list, declared);
            selection.programs.lists.extend(list);
        } else if fields.entries.is_empty() {
            problems.required(&fields, "list", "list: games");
        }
        return;
    };
    let mut descendants = Descendants {
        programs: Programs::default(),
        ancestors: programs(
            problems,
            descends,
            "descends",
            "[reaper, umu-run]",
            declared,
        ),
    };
    if let Some(node) = fields.get("program") {
        descendants.programs = programs(problems, node, "program", r#"["*.exe"]"#, declared);
    }
    if let Some(node) = fields.get("list") {
        let list = named(problems, node, declared);
        descendants.programs.lists.extend(list);
    }
    selection.descendants.push(descendants);
}

/// As [`selection`], by their own names alone.
fn programs(
    problems: &mut Problems,
    node: &Node,
    key: &str,
    example: &str,
    declared: &lists::Declared,
) -> Programs {
    let mut programs = Programs::default();
    for item in items(problems, node, &quote(key), example) {
        if let Value::Mapping(_) = item.value {
            let fields = problems.fields(item, "a list of programs", "{list: games}", &["list"]);
            let list = fields.and_then(|fields| {
                let list = problems.required(&fields, "list", "list: games")?;
                named(problems, list, declared)
            });
            programs.lists.extend(list);
        } else {
            let pattern = pattern(problems, item, Pattern::for_processes);
            programs.patterns.extend(pattern);
        }
    }
    programs
}

/// The patterns in a list, or the one that stands there without a list around it.
fn patterns(
    problems: &mut Problems,
    node: &Node,
    what: &str,
    example: &str,
    new: fn(&str) -> Result<Pattern, PatternError>,
) -> Vec<Pattern> {
    items(problems, node, what, example)
        .iter()
        .filter_map(|item| pattern(problems, item, new))
        .collect()
}

/// What is in a list, or the one that stands there without a list around it.
fn items<'n>(problems: &mut Problems, node: &'n Node, what: &str, example: &str) -> &'n [Node] {
    if let Value::Text { .. } | Value::Mapping(_) = node.value {
        return std::slice::from_ref(node);
    }
    let Some(items) = problems.list(node, what, MAX_PATTERNS, example) else {
        return &[];
    };
    if items.is_empty() {
        let message = format!("{what} has no pattern; write for example `{example}`");
        problems.add(node.at, message);
    }
    items
}

fn pattern(
    problems: &mut Problems,
    node: &Node,
    new: fn(&str) -> Result<Pattern, PatternError>,
) -> Option<Pattern> {
    let text = problems.text(node, "a pattern", "text such as `*.exe`", MAX_PATTERN)?;
    new(text)
        .map_err(|error| {
            let shown = node.value.shown();
            problems.add(node.at, format!("{shown} cannot be a pattern: {error}"));
        })
        .ok()
}
