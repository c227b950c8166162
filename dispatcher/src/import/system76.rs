//! The profile `games` of system76-scheduler: names and paths of programs, and conditions on them.

use std::collections::BTreeSet;

use auto_ext_policy::Pattern;

use super::draft::{Draft, Rule};
use super::kdl::{self, Node};
use super::names::Kind;
use super::sources::Source;

/// More than one rule may have cannot be taken over.
const MAX_PATTERNS: usize = 90;

pub(super) fn convert(sources: &[Source], draft: &mut Draft) {
    let list = draft.own("games");
    let mut patterns = BTreeSet::new();
    for source in sources {
        match kdl::parse(&source.text) {
            Ok(nodes) => assignments(&nodes, &list, &mut patterns, draft),
            Err(line) => {
                let place = format!("{}:{line}", source.path.display());
                draft.leave_out("files that are no KDL", &place);
            }
        }
    }
    if !draft.has_list(&list) && patterns.is_empty() {
        return;
    }
    let scheduler = draft.scheduler_for_games();
    let lists = if draft.has_list(&list) {
        vec![list]
    } else {
        Vec::new()
    };
    draft.rule(Rule {
        class: draft.own("game"),
        lists,
        patterns: patterns.into_iter().collect(),
        scheduler,
        ..Rule::default()
    });
    draft
        .note("nice values and I/O classes are system76-scheduler's, which can go on setting them");
}

/// Those of the games in `nodes`, wherever they are: in a file of their own, or within `process-scheduler`.
fn assignments(nodes: &[Node], list: &str, patterns: &mut BTreeSet<String>, draft: &mut Draft) {
    for node in nodes {
        if node.name != "assignments" {
            assignments(&node.children, list, patterns, draft);
            continue;
        }
        for profile in &node.children {
            if profile.name == "games" {
                for program in &profile.children {
                    add(program, list, patterns, draft);
                }
            } else if !profile.children.is_empty() {
                draft.leave_out("profiles that are not about games", &profile.name);
            }
        }
    }
}

fn add(program: &Node, list: &str, patterns: &mut BTreeSet<String>, draft: &mut Draft) {
    let conditions = &program.properties;
    let is_condition = ["include", "*"].contains(&&*program.name);
    let pattern = match &conditions[..] {
        [] if is_condition || program.name == "exclude" => return,
        [] if program.name.contains('/') => &program.name,
        [] => return draft.game(list, &program.name),
        [(key, value)] if key == "name" && is_condition => value,
        conditions => {
            let shown: Vec<String> = conditions
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let why = "conditions on what a program descends from, and others, which auto-ext does not know";
            return draft.leave_out(why, &format!("{} {}", program.name, shown.join(" ")));
        }
    };
    let valid = Pattern::for_processes(pattern).is_ok()
        && pattern.len() <= 200
        && !pattern.contains(char::is_control);
    if !valid || patterns.len() >= MAX_PATTERNS {
        draft.leave_out("what is no pattern, or one too many", pattern);
    } else if Kind::of(pattern) == Kind::Launcher {
        draft.leave_out("programs that run without a game too", pattern);
    } else {
        patterns.insert(pattern.clone());
    }
}
