//! The section `schedulers`: names, programs and arguments, and what a name in a rule stands for.

use std::collections::{BTreeMap, BTreeSet};

use crate::candidate::{Candidate, KERNEL, Scheduler};
use crate::known;
use crate::policy::{Rule, used};
use auto_ext_service::config_file::error::{Place, Problems, quote};
use auto_ext_service::config_file::fields::{MAX_FILE_NAME, MAX_PATH, MAX_WORD};
use auto_ext_service::config_file::suggest::nearest;
use auto_ext_service::config_file::yaml::{Node, Value};

/// The keys of a scheduler.
pub(super) const KEYS: [&str; 2] = ["command", "args"];

pub(super) const MAX_SCHEDULERS: usize = 100;
/// How many arguments a scheduler may have.
pub const MAX_ARGS: usize = 64;
/// How long an argument may be, in bytes.
pub const MAX_ARG: usize = 1024;

/// What the policy says about each scheduler it names.
pub(super) type Declared = BTreeMap<String, Declaration>;

/// A scheduler and where it is defined.
pub(super) struct Declaration {
    place: Place,
    /// `None` where it has been reported as wrong, so that rules that use it are not reported as
    /// well.
    pub(super) scheduler: Option<Scheduler>,
}

/// Reads the section of one file. `declared` has the schedulers of the files before it.
pub(super) fn schedulers(problems: &mut Problems, node: &Node, declared: &mut Declared) {
    let Some(fields) = problems.mapping(node, "`schedulers`", "fast: {command: scx_bpfland}")
    else {
        return;
    };
    let room = MAX_SCHEDULERS.saturating_sub(declared.len());
    if let Some(excess) = fields.entries.get(room) {
        problems.add(
            excess.at,
            format!("there are more than {MAX_SCHEDULERS} schedulers"),
        );
    }
    for field in &fields.entries {
        let name = problems.name(field.at, field.key, "a scheduler");
        let scheduler = scheduler(problems, field.node, field.key);
        if field.key == KERNEL {
            let message = "`kernel` is built in and cannot be defined; choose another name";
            problems.add(field.at, message);
        } else if let Some(other) = declared.get(field.key) {
            let (name, line) = (quote(field.key), problems.line_of(other.place));
            let message =
                format!("the scheduler {name} is already defined on {line}; choose another name");
            problems.add(field.at, message);
        } else {
            let declaration = Declaration {
                place: problems.place(field.at),
                scheduler: scheduler.filter(|_| name.is_some()),
            };
            declared.insert(field.key.to_owned(), declaration);
        }
    }
}

/// Warns of schedulers that no rule uses.
pub(super) fn warn_of_unused(problems: &mut [Problems], declared: &Declared, rules: &[Rule]) {
    let used: BTreeSet<_> = used(rules).map(|scheduler| &scheduler.name).collect();
    for (name, declaration) in declared {
        if !used.contains(name) {
            let name = quote(name);
            let message = format!("no rule uses the scheduler {name}; comment it out or use it");
            let Place { file, at } = declaration.place;
            problems[file].warn(at, message);
        }
    }
}

fn scheduler(problems: &mut Problems, node: &Node, name: &str) -> Option<Scheduler> {
    let fields = problems.fields(node, &quote(name), "{command: scx_bpfland}", &KEYS)?;
    let command = problems
        .required(&fields, "command", "command: scx_bpfland")
        .and_then(|node| command(problems, node));
    let args = match fields.get_filled("args") {
        Some(node) => args(problems, node),
        None => Some(Vec::new()),
    };
    Some(Scheduler {
        name: name.to_owned(),
        command: command?,
        args: args?,
    })
}

fn command(problems: &mut Problems, node: &Node) -> Option<String> {
    let command = problems.text(
        node,
        "`command`",
        "a program such as `scx_bpfland`",
        MAX_PATH,
    )?;
    let shown = quote(command);
    let message = if let Some((program, _)) = command.split_once(char::is_whitespace) {
        let program = quote(program);
        format!("{shown} is more than a program; write {program} and the rest as `args: [...]`")
    } else if command.starts_with('/') {
        if !["/", "/.", "/.."].iter().any(|end| command.ends_with(end)) {
            return Some(command.to_owned());
        }
        format!("{shown} is a directory; write the path of a program")
    } else if command.contains('/') {
        format!("{shown} is a relative path; write the file name alone or an absolute path")
    } else if command == known::PREFIX {
        format!("{shown} lacks the rest of the name; write for example `scx_bpfland`")
    } else if !command.starts_with(known::PREFIX) {
        let hint = match known::by_name(command) {
            Some(known) => format!("write {}", quote(known.command)),
            None => "write such a name or an absolute path".to_owned(),
        };
        format!("{shown} does not begin with `scx_`, as schedulers do; {hint}")
    } else if command.len() > MAX_FILE_NAME {
        format!("`command` is longer than {MAX_FILE_NAME} bytes: {shown}")
    } else {
        return Some(command.to_owned());
    };
    problems.add(node.at, message);
    None
}

fn args(problems: &mut Problems, node: &Node) -> Option<Vec<String>> {
    let items = problems.list(node, "`args`", MAX_ARGS, "[-m, performance]")?;
    // Collected before it is judged, so that every wrong one is reported.
    let args: Vec<_> = items.iter().map(|item| argument(problems, item)).collect();
    args.into_iter().collect()
}

fn argument(problems: &mut Problems, node: &Node) -> Option<String> {
    if let Value::Empty = node.value {
        let message = "an argument has no value; put `null`, `~` or nothing between quotes";
        problems.add(node.at, message);
        return None;
    }
    let text = problems.text(node, "an argument", "text or a number", MAX_ARG)?;
    let plain = matches!(node.value, Value::Text { plain: true, .. });
    if plain && text.starts_with('-') && text.contains(char::is_whitespace) {
        let split: Vec<_> = text.split_whitespace().collect();
        let (text, split) = (quote(text), quote(&split.join(", ")));
        let message = format!(
            "{text} is one argument; separate them, {split}, or put it between quotes if it is one"
        );
        problems.add(node.at, message);
        return None;
    }
    Some(text.to_owned())
}

/// What a name in `use` stands for: `kernel`, a scheduler of the policy by its exact name or, if
/// it is a known one, by its other name, or a known scheduler without arguments.
pub(super) fn candidate(
    problems: &mut Problems,
    node: &Node,
    declared: &Declared,
) -> Option<Candidate> {
    let name = problems.text(node, "a candidate", "a name such as `kernel`", MAX_WORD)?;
    if let Some(found) = known::candidate(name, |name| Some(declared.get(name)?.scheduler.clone()))
    {
        // One that is declared but wrong has been reported already.
        return found;
    }
    problems.add_with(node.at, || unknown(name, declared));
    None
}

/// The message about a candidate that is nothing.
fn unknown(name: &str, declared: &Declared) -> String {
    let mut names = vec![KERNEL];
    names.extend(declared.keys().map(String::as_str));
    names.extend(
        known::ALL
            .iter()
            .flat_map(|known| [known.name(), known.command]),
    );
    let shown = quote(name);
    match nearest(name, names) {
        Some(near) => format!("unknown scheduler {shown}, did you mean {}?", quote(near)),
        None => format!(
            "unknown scheduler {shown}; define it under `schedulers`, or use `kernel` or a known \
             one such as `bpfland`"
        ),
    }
}
