//! The section `rules`: classes, conditions and candidates.

use std::collections::BTreeMap;

use auto_ext_profiler::{Level, Signal};

use super::error::{Problems, quote};
use super::fields::MAX_WORD;
use super::schedulers::{Declared, candidate};
use super::suggest::{instead, nearest};
use super::yaml::Node;
use super::{Candidate, NO_CLASS, Rule};

const MAX_RULES: usize = 100;
const MAX_CANDIDATES: usize = 16;

const EXAMPLE: &str = "{class: idle, use: [kernel]}";

/// Conditions that the format has and this version cannot measure yet.
const LATER_CONDITIONS: [&str; 4] = ["process", "cgroup", "power", "profile"];

pub(super) fn rules(problems: &mut Problems, node: &Node, declared: &Declared) -> Vec<Rule> {
    let example = format!("[{EXAMPLE}]");
    let Some(items) = problems.list(node, "`rules`", MAX_RULES, &example) else {
        return Vec::new();
    };
    if items.is_empty() {
        problems.add(
            node.at,
            format!("`rules` is empty; write for example `{example}`"),
        );
    }
    let mut classes = BTreeMap::new();
    items
        .iter()
        .filter_map(|item| rule(problems, item, declared, &mut classes))
        .collect()
}

/// One rule; `classes` has the lines of the classes before it.
fn rule<'n>(
    problems: &mut Problems,
    node: &'n Node,
    declared: &Declared,
    classes: &mut BTreeMap<&'n str, usize>,
) -> Option<Rule> {
    let fields = problems.fields(node, "a rule", EXAMPLE, &["class", "when", "use"])?;
    let class = problems
        .required(&fields, "class", "class: idle")
        .and_then(|node| {
            let text = problems.text(node, "`class`", "a name such as `idle`", MAX_WORD)?;
            let class = problems.name(node.at, text, "a class")?;
            if class == NO_CLASS {
                let message = "`none` is the class when no rule matches; choose another name";
                problems.add(node.at, message);
            }
            if let Some(line) = classes.get(class) {
                let class = quote(class);
                problems.add(
                    node.at,
                    format!(
                        "the class {class} is already used on line {line}; choose another name"
                    ),
                );
            } else {
                classes.insert(class, node.at.line);
            }
            Some(class.to_owned())
        });
    let levels = match fields.get("when") {
        Some(node) => conditions(problems, node),
        None => Some(Vec::new()),
    };
    let candidates = problems
        .required(&fields, "use", "use: [kernel]")
        .and_then(|node| candidates(problems, node, declared));
    Some(Rule {
        class: class?,
        levels: levels?,
        candidates: candidates?,
    })
}

fn conditions(problems: &mut Problems, node: &Node) -> Option<Vec<(Signal, Level)>> {
    let fields = problems.mapping(node, "`when`", "{net: high}")?;
    if fields.entries.is_empty() {
        let message = "`when` has no condition; remove it from a rule that always matches";
        problems.add(node.at, message);
    }
    let mut levels = Vec::new();
    for field in &fields.entries {
        if LATER_CONDITIONS.contains(&field.key) {
            let message = format!(
                "the condition `{}` comes with a later version of auto-ext; until then remove this \
                 rule, for without the condition it would match more than it should",
                field.key
            );
            problems.add(field.at, message);
        } else if let Ok(signal) = field.key.parse::<Signal>() {
            if let Some(level) = level(problems, field.node, signal) {
                levels.push((signal, level));
            }
        } else {
            problems.add_with(field.at, || {
                let instead = match nearest(field.key, LATER_CONDITIONS) {
                    Some(near) => format!(", did you mean {}?", quote(near)),
                    None => instead(field.key, Signal::ALL.map(Signal::name), "valid here:"),
                };
                format!("unknown condition {}{instead}", quote(field.key))
            });
        }
    }
    Some(levels)
}

fn level(problems: &mut Problems, node: &Node, signal: Signal) -> Option<Level> {
    let what = quote(signal.name());
    let text = problems.text(node, &what, "`high` or `low`", MAX_WORD)?;
    let levels = [Level::High, Level::Low];
    let level = levels.into_iter().find(|level| level.name() == text);
    if level.is_none() {
        let instead = instead(text, levels.map(Level::name), "valid here:");
        problems.add(node.at, format!("{} is not a level{instead}", quote(text)));
    }
    level
}

fn candidates(problems: &mut Problems, node: &Node, declared: &Declared) -> Option<Vec<Candidate>> {
    let items = problems.list(node, "`use`", MAX_CANDIDATES, "[kernel]")?;
    if items.is_empty() {
        problems.add(
            node.at,
            "`use` names nothing; write `use: [kernel]` for no scheduler",
        );
    }
    Some(
        items
            .iter()
            .filter_map(|item| candidate(problems, item, declared))
            .collect(),
    )
}
