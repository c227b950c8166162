//! What is wrong with a policy, and where. Owns the form `FILE:LINE:COL: error: MESSAGE`, also of warnings; the messages
//! themselves are written where the problem is found.

use std::fmt;
use std::path::{Path, PathBuf};

/// How many problems are kept; further ones are only counted, as nobody corrects a hundred at a time.
const MAX_PROBLEMS: usize = 100;

/// How many warnings are kept; further ones are only counted.
const MAX_WARNINGS: usize = 300;

/// The longest excerpt of a policy that a message repeats, in characters.
const MAX_QUOTE: usize = 60;

/// A place in a policy, as editors count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Location {
    /// The beginning of the file, for what is wrong with all of it.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One thing in a policy that is wrong, or valid but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The offending key or value; [`Location::START`] when it is the file as a whole.
    pub at: Location,
    /// What is wrong and how to correct it.
    pub message: String,
}

/// A policy that cannot be used. Displays one line `FILE:LINE:COL: error: MESSAGE` per problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    path: PathBuf,
    problems: Vec<Problem>,
    omitted: usize,
}

impl PolicyError {
    /// The policy as it was named by the caller.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// At least one problem, in the order of the file; the first hundred if there are more.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is wrong with the file at `path` as a whole.
    #[must_use]
    pub fn with_file(path: &Path, message: impl Into<String>) -> Self {
        Problem::with_file(message).in_file(path)
    }

    pub(super) fn problems_mut(&mut self) -> &mut [Problem] {
        &mut self.problems
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (index, Problem { at, message }) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(
                f,
                "{separator}{path}:{}:{}: error: {message}",
                at.line, at.column
            )?;
        }
        if self.omitted > 0 {
            write!(f, "\n{path}: and {} more errors", self.omitted)?;
        }
        Ok(())
    }
}

/// Something in a valid policy that is probably not meant. Displays as one line `FILE:LINE:COL: warning: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    path: PathBuf,
    problem: Problem,
}

impl Warning {
    /// The policy as it was named by the caller.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A warning about the policy that is called `path`.
    #[must_use]
    pub fn new(path: &Path, at: Location, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: Problem::new(at, message),
        }
    }

    /// What is probably not meant, and where.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { at, message } = &self.problem;
        let path = self.path.display();
        write!(f, "{path}:{}:{}: warning: {message}", at.line, at.column)
    }
}

/// Collects problems, so that one run names all of them.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    omitted: usize,
    warnings: Vec<Problem>,
    omitted_warnings: usize,
}

impl Problems {
    pub(super) fn add(&mut self, at: Location, message: impl Into<String>) {
        self.add_with(at, || message.into());
    }

    /// As [`Self::add`], for a message that takes time to make: `message` is not called for a problem that is only
    /// counted.
    pub(super) fn add_with(&mut self, at: Location, message: impl FnOnce() -> String) {
        if self.found.len() < MAX_PROBLEMS {
            self.found.push(Problem {
                at,
                message: message(),
            });
        } else {
            self.omitted += 1;
        }
    }

    /// Adds something that is valid but probably not meant.
    pub(super) fn warn(&mut self, at: Location, message: impl Into<String>) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Problem::new(at, message));
        } else {
            self.omitted_warnings += 1;
        }
    }

    /// `policy` with the warnings about it, in the order of the file, if nothing is wrong.
    pub(super) fn or<T>(
        mut self,
        path: &Path,
        policy: T,
    ) -> Result<(T, Vec<Warning>), PolicyError> {
        if self.found.is_empty() {
            self.warnings.sort_by_key(|problem| problem.at);
            if let (Some(last), 1..) = (self.warnings.last(), self.omitted_warnings) {
                let more = format!("there are {} more warnings", self.omitted_warnings);
                self.warnings.push(Problem::new(last.at, more));
            }
            let warning = |problem| Warning {
                path: path.to_owned(),
                problem,
            };
            let warnings = self.warnings.into_iter().map(warning).collect();
            return Ok((policy, warnings));
        }
        self.found.sort_by_key(|problem| problem.at);
        Err(PolicyError {
            path: path.to_owned(),
            problems: self.found,
            omitted: self.omitted,
        })
    }
}

impl Problem {
    pub(super) fn new(at: Location, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    /// A problem with the file as a whole.
    pub(super) fn with_file(message: impl Into<String>) -> Self {
        Self::new(Location::START, message)
    }

    /// The error that consists of this problem alone.
    pub(super) fn in_file(self, path: &Path) -> PolicyError {
        PolicyError {
            path: path.to_owned(),
            problems: vec![self],
            omitted: 0,
        }
    }
}

/// `text` between backquotes: short, on one line, and safe to print on a terminal.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (index, character) in text.chars().enumerate() {
        if index == MAX_QUOTE {
            quoted.push('…');
            break;
        }
        // Also what is invisible or reorders text, such as U+202E; `'` and `"` stay as they are.
        match character {
            '\'' | '"' | '\\' => quoted.push(character),
            _ => quoted.extend(character.escape_debug()),
        }
    }
    quoted.push('`');
    quoted
}

/// Names between backquotes, separated by commas.
pub(super) fn quote_all<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}
