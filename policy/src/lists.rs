//! The section `lists`: names for lists of programs, which stand there or in files of their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::conditions::Conditions;
use crate::files::ReadList;
use crate::policy::Rule;
use crate::programs::List;
use auto_ext_service::config_file::error::{Location, Place, Problem, Problems, quote};
use auto_ext_service::config_file::fields::{MAX_FILE_NAME, MAX_PATH, MAX_WORD};
use auto_ext_service::config_file::suggest::instead;
use auto_ext_service::config_file::utf8::utf8;
use auto_ext_service::config_file::yaml::{Node, Value};

/// The keys of a list that is in a file of its own.
pub(super) const KEYS: [&str; 1] = ["file"];

pub(super) const MAX_LISTS: usize = 100;
/// The most names in all lists of a policy.
pub const MAX_NAMES: usize = 50_000;
/// The most names of a list that stands in the policy.
pub(super) const MAX_INLINE: usize = 20_000;
/// The largest file of a list, in bytes.
pub const MAX_LIST_BYTES: usize = 4 << 20;

const EXAMPLE: &str = "[hl2_linux, SPEED2.EXE]";

/// The lists by their names.
pub(super) type Declared = BTreeMap<String, Declaration>;

/// A list and where it is defined.
pub(super) struct Declaration {
    place: Place,
    /// `None` where it has been reported as wrong.
    pub(super) list: Option<Arc<List>>,
}

/// The files of lists, and what is wrong with them.
pub(super) struct ListFiles<'f> {
    read: Box<ReadList<'f>>,
    problems: Vec<Problems>,
    /// How many names have been read, of all lists.
    names: usize,
}

impl<'f> ListFiles<'f> {
    pub(super) fn new(read: Box<ReadList<'f>>) -> Self {
        Self {
            read,
            problems: Vec::new(),
            names: 0,
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problems> {
        self.problems
    }

    /// Whether there is no room for another name.
    fn is_full(&mut self) -> bool {
        self.names += 1;
        self.names > MAX_NAMES
    }
}

/// Reads the section of one file. `declared` has the lists of the files before it.
pub(super) fn lists(
    problems: &mut Problems,
    node: &Node,
    files: &mut ListFiles<'_>,
    declared: &mut Declared,
) {
    let Some(fields) = problems.mapping(node, "`lists`", &format!("games: {EXAMPLE}")) else {
        return;
    };
    let room = MAX_LISTS.saturating_sub(declared.len());
    if let Some(excess) = fields.entries.get(room) {
        problems.add(excess.at, format!("there are more than {MAX_LISTS} lists"));
        return;
    }
    for field in &fields.entries {
        let name = problems.name(field.at, field.key, "a list");
        let names = names(problems, field.node, field.key, files);
        if let Some(other) = declared.get(field.key) {
            let (name, line) = (quote(field.key), problems.line_of(other.place));
            let message =
                format!("the list {name} is already defined on {line}; choose another name");
            problems.add(field.at, message);
        } else {
            let list = names.filter(|_| name.is_some());
            let declaration = Declaration {
                place: problems.place(field.at),
                list: list.map(|names| Arc::new(List::new(field.key, names))),
            };
            declared.insert(field.key.to_owned(), declaration);
        }
    }
}

/// Warns of lists that no rule uses.
pub(super) fn warn_of_unused(problems: &mut [Problems], declared: &Declared, rules: &[Rule]) {
    let uses = |rule: &Rule, name: &str| {
        let Conditions {
            processes, except, ..
        } = &rule.when;
        let mut lists = processes.lists().chain(except.lists());
        lists.any(|list| list.name() == name)
    };
    for (name, Declaration { place, .. }) in declared {
        if !rules.iter().any(|rule| uses(rule, name)) {
            let message = format!(
                "no rule uses the list {}; comment it out or use it",
                quote(name)
            );
            problems[place.file].warn(place.at, message);
        }
    }
}

/// The list that the name after `list` stands for. `None` also for one that is defined and wrong, which has been reported.
pub(super) fn named(
    problems: &mut Problems,
    node: &Node,
    declared: &Declared,
) -> Option<Arc<List>> {
    let name = problems.text(
        node,
        "`list`",
        "the name of a list such as `games`",
        MAX_WORD,
    )?;
    if let Some(declaration) = declared.get(name) {
        return declaration.list.clone();
    }
    problems.add_with(node.at, || {
        let unknown = format!("unknown list {}", quote(name));
        if declared.is_empty() {
            return format!("{unknown}; define it under `lists`");
        }
        let names = declared.keys().map(String::as_str);
        unknown + &instead(name, names, "defined are")
    });
    None
}

/// The names of one list.
fn names(
    problems: &mut Problems,
    node: &Node,
    key: &str,
    files: &mut ListFiles<'_>,
) -> Option<Vec<String>> {
    if let Value::Mapping(_) = node.value {
        let fields = problems.fields(node, &quote(key), "{file: games.txt}", &KEYS)?;
        let node = problems.required(&fields, "file", "file: games.txt")?;
        let path = problems.text(node, "`file`", "a path such as `games.txt`", MAX_PATH)?;
        return from_file(problems, node.at, path, files);
    }
    let items = problems.list(node, &quote(key), MAX_INLINE, EXAMPLE)?;
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let expected = "a name such as `hl2_linux`";
        let Some(name) = problems.text(item, "a program", expected, MAX_FILE_NAME) else {
            continue;
        };
        if files.is_full() {
            problems.add_problem(too_many(item.at));
            return None;
        }
        if let Some(name) = name_of_program(problems, item.at, name) {
            names.push(name);
        }
    }
    Some(names)
}

fn from_file(
    problems: &mut Problems,
    at: Location,
    path: &str,
    files: &mut ListFiles<'_>,
) -> Option<Vec<String>> {
    let beside = problems.path().parent().unwrap_or(Path::new(""));
    let path = beside.join(path);
    let bytes = match (files.read)(&path) {
        Ok(bytes) => bytes,
        Err(why) => {
            let path = path.display();
            problems.add(at, format!("the list {path} cannot be read: {why}"));
            return None;
        }
    };
    let mut own = Problems::of_each(vec![path]);
    let names = lines(own.first_mut()?, bytes, files);
    files.problems.append(&mut own);
    names
}

/// The names in the lines of a file.
fn lines(
    problems: &mut Problems,
    bytes: Vec<u8>,
    files: &mut ListFiles<'_>,
) -> Option<Vec<String>> {
    if bytes.len() > MAX_LIST_BYTES {
        let message = "the file is larger than 4 MiB, which no list needs; is it the right file?";
        problems.add_problem(Problem::with_file(message));
        return None;
    }
    let text = match utf8(bytes) {
        Ok(text) => text,
        Err(problem) => {
            problems.add_problem(problem);
            return None;
        }
    };
    let mut names = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (line, whole) in (1..).zip(text.lines()) {
        let without_comment = whole.split(" #").next().unwrap_or_default();
        let name = without_comment.trim();
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        let at = Location { line, column: 1 };
        if files.is_full() {
            problems.add_problem(too_many(at));
            return None;
        }
        let refusal = if name.len() > MAX_FILE_NAME {
            format!("is longer than {MAX_FILE_NAME} bytes")
        } else if name.chars().any(char::is_control) {
            "contains a control character".to_owned()
        } else {
            names.extend(name_of_program(problems, at, name));
            continue;
        };
        problems.add(at, format!("a program {refusal}: {}", quote(name)));
    }
    Some(names)
}

fn too_many(at: Location) -> Problem {
    let message = format!("there are more than {MAX_NAMES} names in all lists up to here");
    Problem::new(at, message)
}

/// Refuses what is no name of a program, and warns of what looks like a pattern.
fn name_of_program(problems: &mut Problems, at: Location, name: &str) -> Option<String> {
    let shown = quote(name);
    if name.is_empty() {
        problems.add(at, "a program has no name; remove it");
        return None;
    }
    if name.contains(['/', '\\']) {
        let last = name.rsplit(['/', '\\']).find(|part| !part.is_empty());
        let last = quote(last.unwrap_or("hl2_linux"));
        let message = format!(
            "{shown} is a path, but a list has names of programs; write {last}, or the path as a \
             pattern in a rule's `process`"
        );
        problems.add(at, message);
        return None;
    }
    if name.contains(['*', '?']) {
        let message = format!(
            "{shown} looks like a pattern, but a list has exact names; write it in a rule's \
             `process`"
        );
        problems.warn(at, message);
    }
    Some(name.to_owned())
}
