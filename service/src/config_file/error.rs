//! What is wrong with a configuration, and where. Owns the form `FILE:LINE:COL: error: MESSAGE`, also of warnings; the messages
//! themselves are written where the problem is found.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How many problems are kept; further ones are only counted, as nobody corrects a hundred at a time.
const MAX_PROBLEMS: usize = 100;

/// How many warnings are kept; further ones are only counted.
const MAX_WARNINGS: usize = 300;

/// The longest excerpt of a file that a message repeats, in characters.
const MAX_QUOTE: usize = 60;

/// A place in a file, as editors count it.
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

/// One thing in a file that is wrong, or valid but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The offending key or value; [`Location::START`] when it is the file as a whole.
    pub at: Location,
    /// What is wrong and how to correct it.
    pub message: String,
}

/// A place in one of the files that a configuration is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the file.
    pub file: usize,
    /// Where in it.
    pub at: Location,
}

/// A configuration that cannot be used. Displays one line `FILE:LINE:COL: error: MESSAGE` per problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Those in which something is wrong.
    files: Vec<WrongFile>,
}

/// A file in which something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WrongFile {
    path: PathBuf,
    problems: Vec<Problem>,
    omitted: usize,
}

impl ConfigError {
    /// At least one problem, file by file and in each in its order; of each file the first hundred if there are more.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.files.iter().flat_map(|file| &file.problems)
    }

    /// What is wrong with the file at `path` as a whole.
    #[must_use]
    pub fn with_file(path: &Path, message: impl Into<String>) -> Self {
        Self {
            files: vec![WrongFile {
                path: path.to_owned(),
                problems: vec![Problem::with_file(message)],
                omitted: 0,
            }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for file in &self.files {
            let path = file.path.display();
            for Problem { at, message } in &file.problems {
                write!(
                    f,
                    "{separator}{path}:{}:{}: error: {message}",
                    at.line, at.column
                )?;
                separator = "\n";
            }
            if file.omitted > 0 {
                write!(f, "\n{path}: and {} more errors", file.omitted)?;
            }
        }
        Ok(())
    }
}

/// Something in a valid file that is probably not meant. Displays as one line `FILE:LINE:COL: warning: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    path: PathBuf,
    problem: Problem,
}

impl Warning {
    /// The file as it was named by the caller.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A warning about the file that is called `path`.
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

/// Collects the problems of one file, so that one run names all of them.
#[derive(Debug)]
pub struct Problems {
    /// The number of the file among `paths`.
    file: usize,
    paths: Rc<[PathBuf]>,
    found: Vec<Problem>,
    omitted: usize,
    warnings: Vec<Problem>,
    omitted_warnings: usize,
}

impl Problems {
    /// Those of each of these files, of which none is known yet.
    #[must_use]
    pub fn of_each(paths: Vec<PathBuf>) -> Vec<Self> {
        let paths: Rc<[PathBuf]> = paths.into();
        let of = |file| Self {
            file,
            paths: Rc::clone(&paths),
            found: Vec::new(),
            omitted: 0,
            warnings: Vec::new(),
            omitted_warnings: 0,
        };
        (0..paths.len()).map(of).collect()
    }

    /// The file that they are about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.paths[self.file]
    }

    /// The file that has the settings.
    #[must_use]
    pub fn first_path(&self) -> &Path {
        &self.paths[0]
    }

    /// A place in the file that they are about.
    #[must_use]
    pub fn place(&self, at: Location) -> Place {
        Place {
            file: self.file,
            at,
        }
    }

    /// In which line `place` is, and in which file if it is another one, for a message.
    #[must_use]
    pub fn line_of(&self, place: Place) -> String {
        let line = place.at.line;
        if place.file == self.file {
            return format!("line {line}");
        }
        format!("line {line} of {}", self.paths[place.file].display())
    }

    /// Adds something that is wrong.
    pub fn add(&mut self, at: Location, message: impl Into<String>) {
        self.add_with(at, || message.into());
    }

    /// As [`Self::add`], for a message that takes time to make: `message` is not called for a problem that is only
    /// counted.
    pub fn add_with(&mut self, at: Location, message: impl FnOnce() -> String) {
        if self.found.len() < MAX_PROBLEMS {
            self.found.push(Problem {
                at,
                message: message(),
            });
        } else {
            self.omitted += 1;
        }
    }

    /// Adds what stands alone, as whatever follows from it says nothing.
    pub fn add_problem(&mut self, problem: Problem) {
        self.add(problem.at, problem.message);
    }

    /// Adds something that is valid but probably not meant.
    pub fn warn(&mut self, at: Location, message: impl Into<String>) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Problem::new(at, message));
        } else {
            self.omitted_warnings += 1;
        }
    }

    /// What is wrong.
    pub fn found_mut(&mut self) -> &mut [Problem] {
        &mut self.found
    }

    fn wrong_file(mut self) -> Option<WrongFile> {
        self.found.sort_by_key(|problem| problem.at);
        (!self.found.is_empty()).then(|| WrongFile {
            path: self.paths[self.file].clone(),
            problems: self.found,
            omitted: self.omitted,
        })
    }

    fn into_warnings(mut self) -> Vec<Warning> {
        self.warnings.sort_by_key(|problem| problem.at);
        if let (Some(last), 1..) = (self.warnings.last(), self.omitted_warnings) {
            let more = format!("there are {} more warnings", self.omitted_warnings);
            self.warnings.push(Problem::new(last.at, more));
        }
        let path = self.paths[self.file].clone();
        let warning = |problem| Warning {
            path: path.clone(),
            problem,
        };
        self.warnings.into_iter().map(warning).collect()
    }
}

/// The warnings about all files, each in its order, if nothing is wrong with any of them.
///
/// # Errors
/// All that is wrong, otherwise.
pub fn judge(files: Vec<Problems>) -> Result<Vec<Warning>, ConfigError> {
    if files.iter().all(|file| file.found.is_empty()) {
        return Ok(files
            .into_iter()
            .flat_map(Problems::into_warnings)
            .collect());
    }
    let files = files.into_iter().filter_map(Problems::wrong_file).collect();
    Err(ConfigError { files })
}

impl Problem {
    /// Something that is wrong there.
    pub fn new(at: Location, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    /// A problem with the file as a whole.
    pub fn with_file(message: impl Into<String>) -> Self {
        Self::new(Location::START, message)
    }
}

/// `text` between backquotes: short, on one line, and safe to print on a terminal.
#[must_use]
pub fn quote(text: &str) -> String {
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
pub fn quote_all<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}
