//! What is to be printed: the file for `policies.d`, and the report of what is in it and what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use auto_ext_policy::MAX_BYTES;
use auto_ext_service::sanitize::sanitize;

use super::names::Kind;
use crate::scx_loader::{Mode, command};

/// As many names fit into a policy with all that is around them, and leave room for lists of the user's own.
const MAX_NAMES: usize = 20_000;
/// The most of a file that names take, in bytes.
const MAX_NAMES_BYTES: usize = MAX_BYTES - (128 << 10);
/// How many of what was left out are named.
const SHOWN: usize = 12;

/// A file for `policies.d` that is being made.
#[derive(Debug)]
pub(crate) struct Draft {
    tool: &'static str,
    place: String,
    files: usize,
    /// By their names, the programs and arguments.
    schedulers: BTreeMap<String, (String, Vec<String>)>,
    lists: BTreeMap<String, BTreeSet<String>>,
    /// How many bytes and names are in the lists.
    size: (usize, usize),
    rules: Vec<Rule>,
    notes: Vec<String>,
    left_out: BTreeMap<String, BTreeSet<String>>,
}

/// A rule of the file.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) class: String,
    /// The names of lists, and patterns, of programs; none: the rule always applies.
    pub(super) lists: Vec<String>,
    pub(super) patterns: Vec<String>,
    /// The list of programs that do not count.
    pub(super) except: Option<String>,
    /// The scheduler that is to run.
    pub(super) scheduler: String,
    /// What to say about it.
    pub(super) comment: &'static str,
}

impl Draft {
    /// Nothing yet, of the settings of the tool of this name in `place`.
    pub(super) fn of(tool: &'static str, place: &Path) -> Self {
        Self {
            tool,
            place: place.display().to_string(),
            files: 0,
            schedulers: BTreeMap::new(),
            lists: BTreeMap::new(),
            size: (0, 0),
            rules: Vec::new(),
            notes: Vec::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// So many files have been read.
    pub(super) fn read(&mut self, files: usize) {
        self.files = files;
    }

    /// `name` with the name of the tool before it.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.tool)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A scheduler of the file: this program in this mode, with these arguments. Returns its name.
    pub(super) fn scheduler(
        &mut self,
        command: &str,
        mode: Mode,
        arguments: Vec<String>,
    ) -> String {
        let short = command.strip_prefix("scx_").unwrap_or(command);
        let name = self.own(&format!("{short}-{}", mode.name()));
        let scheduler = (command.to_owned(), arguments);
        self.schedulers.insert(name.clone(), scheduler);
        name
    }

    /// The scheduler that the shipped policy uses where somebody waits for the next frame.
    pub(super) fn scheduler_for_games(&mut self) -> String {
        let command = command("bpfland").unwrap_or_default();
        let arguments = Mode::LowLatency.arguments(&command);
        self.scheduler(&command, Mode::LowLatency, arguments)
    }

    /// Adds a program to a list of the file, if its name says that a game runs.
    pub(super) fn game(&mut self, list: &str, name: &str) {
        match Kind::of(name) {
            Kind::Program => self.name(list, name),
            Kind::Generic => self.leave_out("names that other programs have too", name),
            Kind::Launcher => self.leave_out("programs that run without a game too", name),
            Kind::Invalid => self.leave_out("what is no name of a program", name),
        }
    }

    /// Adds a name to a list of the file.
    pub(super) fn name(&mut self, list: &str, name: &str) {
        let (bytes, names) = self.size;
        let more = name.len() + 16;
        if names >= MAX_NAMES || bytes + more > MAX_NAMES_BYTES {
            self.leave_out("names for which there is no room in one file", name);
        } else if self
            .lists
            .entry(list.to_owned())
            .or_default()
            .insert(name.to_owned())
        {
            self.size = (bytes + more, names + 1);
        }
    }

    /// Whether a list of the file has a name in it.
    pub(super) fn has_list(&self, list: &str) -> bool {
        self.lists.get(list).is_some_and(|names| !names.is_empty())
    }

    pub(super) fn rule(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Has the report say something.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Has the report say that `what` is not in the file, and why.
    pub(super) fn leave_out(&mut self, why: &str, what: &str) {
        self.left_out
            .entry(why.to_owned())
            .or_default()
            .insert(what.to_owned());
    }

    /// The file.
    pub(crate) fn yaml(&self) -> String {
        let name = self.tool;
        let mut text = format!(
            "# Made by `auto-ext import {name}` of {}.\n\
             # To use it, put it into a file in /etc/auto-ext/policies.d whose name ends in `.yaml`.\n\
             version: 1\n",
            sanitize(&self.place)
        );
        if !self.schedulers.is_empty() {
            text.push_str("\nschedulers:\n");
        }
        for (name, (command, arguments)) in &self.schedulers {
            let arguments: Vec<String> =
                arguments.iter().map(|argument| quoted(argument)).collect();
            let arguments = arguments.join(", ");
            let _ = writeln!(
                text,
                "  {name}: {{command: {command}, args: [{arguments}]}}"
            );
        }
        if !self.lists.is_empty() {
            text.push_str("\nlists:\n");
        }
        for (name, names) in &self.lists {
            let _ = writeln!(text, "  {name}:");
            for name in names {
                let _ = writeln!(text, "    - {}", quoted(name));
            }
        }
        text.push_str("\nrules:\n");
        for rule in &self.rules {
            text.push_str(&rule.yaml());
        }
        text
    }

    /// What is in the file, what is not, and why, in lines.
    pub(crate) fn report(&self) -> String {
        let files = match self.files {
            1 => "1 file".to_owned(),
            files => format!("{files} files"),
        };
        let mut text = format!("{}: {files} read\n", sanitize(&self.place));
        for rule in &self.rules {
            let names: usize = rule
                .lists
                .iter()
                .filter_map(|list| self.lists.get(list))
                .map(BTreeSet::len)
                .sum();
            let about = match names + rule.patterns.len() {
                0 => String::new(),
                1 => ": 1 program".to_owned(),
                count => format!(": {count} programs"),
            };
            let _ = writeln!(
                text,
                "rule {}, which uses {}{about}",
                rule.class, rule.scheduler
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        for (why, what) in &self.left_out {
            let shown: Vec<String> = what.iter().take(SHOWN).map(|what| sanitize(what)).collect();
            let more = match what.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let _ = writeln!(text, "left out, {why}: {}{more}", shown.join(", "));
        }
        text
    }
}

impl Rule {
    fn yaml(&self) -> String {
        let mut text = String::new();
        for line in self.comment.lines() {
            let _ = writeln!(text, "  # {line}");
        }
        let _ = writeln!(text, "  - class: {}", self.class);
        let lists = self.lists.iter().map(|list| format!("{{list: {list}}}"));
        let patterns = self.patterns.iter().map(|pattern| quoted(pattern));
        let programs: Vec<String> = lists.chain(patterns).collect();
        if !programs.is_empty() {
            let except = self.except.as_ref();
            let except =
                except.map_or_else(String::new, |list| format!(", except: {{list: {list}}}"));
            let _ = writeln!(
                text,
                "    when: {{process: [{}]{except}}}",
                programs.join(", ")
            );
        }
        let _ = writeln!(text, "    use: [{}, kernel]", self.scheduler);
        text
    }
}

/// As text of YAML between double quotes, whose escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
