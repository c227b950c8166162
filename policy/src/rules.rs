//! The section `rules`: classes, conditions and candidates, and which rules can never apply.

use std::collections::BTreeMap;

use crate::candidate::Candidate;
use crate::conditions::Conditions;
use crate::error::{Location, Problems, quote};
use crate::fields::MAX_WORD;
use crate::policy::{NO_CLASS, Rule};
use crate::schedulers::{Declared, candidate};
use crate::when::conditions;
use crate::yaml::Node;

/// The keys of a rule.
pub(super) const KEYS: [&str; 3] = ["class", "when", "use"];

pub(super) const MAX_RULES: usize = 100;
pub(super) const MAX_CANDIDATES: usize = 16;
/// Each is compared with every process that begins, and with all others when the policy is read.
const MAX_PATTERNS: usize = 500;

const EXAMPLE: &str = "{class: idle, use: [kernel]}";

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
    let rules: Vec<(Location, Rule)> = items
        .iter()
        .filter_map(|item| Some((item.at, rule(problems, item, declared, &mut classes)?)))
        .collect();
    if patterns_are_too_many(problems, &rules) {
        return Vec::new();
    }
    warn_of_hidden(problems, &rules);
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn patterns_are_too_many(problems: &mut Problems, rules: &[(Location, Rule)]) -> bool {
    let mut patterns = 0;
    for (at, rule) in rules {
        patterns += rule.when.processes.len() + rule.when.cgroups.len();
        if patterns > MAX_PATTERNS {
            let message = format!(
                "there are more than {MAX_PATTERNS} patterns for processes and cgroups up to the \
                 end of this rule"
            );
            problems.add(*at, message);
            return true;
        }
    }
    false
}

/// Warns of rules that never apply because an earlier one always does.
fn warn_of_hidden(problems: &mut Problems, rules: &[(Location, Rule)]) {
    for (index, (at, rule)) in rules.iter().enumerate() {
        // A rule of an earlier precedence has a condition that this one has not.
        let hiding = rules[..index].iter().find(|(_, earlier)| {
            earlier.precedence() == rule.precedence() && earlier.when.follow_from(&rule.when)
        });
        let Some((hiding_at, hiding)) = hiding else {
            continue;
        };
        let why = if hiding.when == Conditions::default() {
            "always matches"
        } else {
            "matches whenever this one would"
        };
        let (class, hiding, line) = (quote(&rule.class), quote(&hiding.class), hiding_at.line);
        let message = format!(
            "the rule {class} never gets its turn: {hiding} on line {line} comes first and {why}; \
             move this one up or remove it"
        );
        problems.warn(*at, message);
    }
}

/// Reads one rule. `classes` has the classes of the rules before it, with their lines.
fn rule<'n>(
    problems: &mut Problems,
    node: &'n Node,
    declared: &Declared,
    classes: &mut BTreeMap<&'n str, usize>,
) -> Option<Rule> {
    let fields = problems.fields(node, "a rule", EXAMPLE, &KEYS)?;
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
    let when = match fields.get("when") {
        Some(node) => conditions(problems, node),
        None => Some(Conditions::default()),
    };
    let candidates = problems
        .required(&fields, "use", "use: [kernel]")
        .and_then(|node| candidates(problems, node, declared));
    Some(Rule {
        class: class?,
        when: when?,
        candidates: candidates?,
    })
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
