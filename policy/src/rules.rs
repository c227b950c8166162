//! The section `rules`: classes, conditions and candidates, and which rules can never apply.

use std::collections::BTreeMap;

use crate::candidate::Candidate;
use crate::conditions::Conditions;
use crate::lists;
use crate::policy::{NO_CLASS, Rule};
use crate::schedulers::{self, candidate};
use crate::trials::{Goal, check_rule};
use crate::when::conditions;
use auto_ext_service::config_file::error::{Place, Problems, quote};
use auto_ext_service::config_file::fields::MAX_WORD;
use auto_ext_service::config_file::yaml::Node;

/// What rules may name, of all files.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) schedulers: schedulers::Declared,
    pub(super) lists: lists::Declared,
}

/// The keys of a rule.
pub(super) const KEYS: [&str; 5] = ["class", "when", "use", "try", "goal"];

/// In one file.
pub(super) const MAX_RULES: usize = 100;
/// In all files: each is compared with all others when the policy is read.
const MAX_ALL_RULES: usize = 500;
pub(super) const MAX_CANDIDATES: usize = 16;
/// Each is compared with every process that begins, and with all others when the policy is read.
const MAX_PATTERNS: usize = 500;

const EXAMPLE: &str = "{class: idle, use: [kernel]}";

/// The rules of the files that were read so far.
#[derive(Default)]
pub(super) struct Rules {
    rules: Vec<(Place, Rule)>,
    /// Where each class is given.
    classes: BTreeMap<String, Place>,
    patterns: usize,
}

impl Rules {
    /// Reads the section of the next file.
    pub(super) fn add(&mut self, problems: &mut Problems, node: &Node, declared: &Declared) {
        let example = format!("[{EXAMPLE}]");
        let Some(items) = problems.list(node, "`rules`", MAX_RULES, &example) else {
            return;
        };
        if items.is_empty() {
            problems.add(
                node.at,
                format!("`rules` is empty; write for example `{example}`"),
            );
        }
        for item in items {
            let Some(rule) = self.rule(problems, item, declared) else {
                continue;
            };
            self.rules.push((problems.place(item.at), rule));
            if let Some(message) = self.excess() {
                problems.add(item.at, message);
                return;
            }
        }
    }

    /// What there is too much of with the last rule.
    fn excess(&mut self) -> Option<String> {
        let (_, last) = self.rules.last()?;
        let before = self.patterns;
        self.patterns += last.when.patterns();
        if self.rules.len() > MAX_ALL_RULES {
            return Some(format!(
                "there are more than {MAX_ALL_RULES} rules in all files"
            ));
        }
        (before <= MAX_PATTERNS && self.patterns > MAX_PATTERNS).then(|| {
            format!(
                "there are more than {MAX_PATTERNS} patterns for processes and cgroups up to the \
                 end of this rule"
            )
        })
    }

    /// The rules in their order, with warnings of those that never apply. None if there are too many, which has been
    /// reported.
    pub(super) fn finish(self, problems: &mut [Problems]) -> Vec<Rule> {
        if self.patterns > MAX_PATTERNS || self.rules.len() > MAX_ALL_RULES {
            return Vec::new();
        }
        warn_of_hidden(problems, &self.rules);
        self.rules.into_iter().map(|(_, rule)| rule).collect()
    }

    /// Reads one rule.
    fn rule(&mut self, problems: &mut Problems, node: &Node, declared: &Declared) -> Option<Rule> {
        let fields = problems.fields(node, "a rule", EXAMPLE, &KEYS)?;
        let class = problems
            .required(&fields, "class", "class: idle")
            .and_then(|node| self.class(problems, node));
        let when = match fields.get("when") {
            Some(node) => conditions(problems, node, &declared.lists),
            None => Some(Conditions::default()),
        };
        let candidates = problems
            .required(&fields, "use", "use: [kernel]")
            .and_then(|node| candidates(problems, node, declared));
        let challengers = match fields.get("try") {
            Some(node) => challengers(problems, node, declared),
            None => Some(Vec::new()),
        };
        let goal = fields
            .get("goal")
            .map(|node| problems.choice(node, "`goal`", &Goal::ALL, Goal::name));
        let rule = Rule {
            class: class?,
            when: when?,
            candidates: candidates?,
            challengers: challengers?,
            goal: goal.flatten(),
        };
        let at = fields
            .get("try")
            .or(fields.get("goal"))
            .map_or(node.at, |node| node.at);
        check_rule(
            problems,
            at,
            &rule.when,
            !rule.challengers.is_empty(),
            rule.goal,
        );
        Some(rule)
    }

    fn class(&mut self, problems: &mut Problems, node: &Node) -> Option<String> {
        let text = problems.text(node, "`class`", "a name such as `idle`", MAX_WORD)?;
        let class = problems.name(node.at, text, "a class")?;
        if class == NO_CLASS {
            let message = "`none` is the class when no rule matches; choose another name";
            problems.add(node.at, message);
        }
        if let Some(&other) = self.classes.get(class) {
            let (class, line) = (quote(class), problems.line_of(other));
            problems.add(
                node.at,
                format!("the class {class} is already used on {line}; choose another name"),
            );
        } else {
            self.classes
                .insert(class.to_owned(), problems.place(node.at));
        }
        Some(class.to_owned())
    }
}

/// Warns of rules that never apply because an earlier one always does.
fn warn_of_hidden(problems: &mut [Problems], rules: &[(Place, Rule)]) {
    for (index, (place, rule)) in rules.iter().enumerate() {
        // A rule of an earlier precedence has a condition that this one has not.
        let hiding = rules[..index].iter().find(|(_, earlier)| {
            earlier.precedence() == rule.precedence() && earlier.when.follow_from(&rule.when)
        });
        let Some((hiding_place, hiding)) = hiding else {
            continue;
        };
        let problems = &mut problems[place.file];
        let why = if hiding.when == Conditions::default() {
            "always matches"
        } else {
            "matches whenever this one would"
        };
        let (class, hiding) = (quote(&rule.class), quote(&hiding.class));
        let line = problems.line_of(*hiding_place);
        let remedy = if hiding_place.file == place.file {
            "move this one up or remove it"
        } else {
            "put it into that file, above that one, or remove it"
        };
        let message = format!(
            "the rule {class} never gets its turn: {hiding} on {line} comes first and {why}; {remedy}"
        );
        problems.warn(place.at, message);
    }
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
            .filter_map(|item| candidate(problems, item, &declared.schedulers))
            .collect(),
    )
}

/// The schedulers to be tried. The kernel's own is what each of them is compared with.
fn challengers(
    problems: &mut Problems,
    node: &Node,
    declared: &Declared,
) -> Option<Vec<Candidate>> {
    let items = problems.list(node, "`try`", MAX_CANDIDATES, "[bpfland]")?;
    let mut challengers = Vec::with_capacity(items.len());
    for item in items {
        match candidate(problems, item, &declared.schedulers) {
            Some(Candidate::Kernel) => {
                let message = "`kernel` need not be tried: whatever is tried is compared with it";
                problems.add(item.at, message);
            }
            other => challengers.extend(other),
        }
    }
    Some(challengers)
}
