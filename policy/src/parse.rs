//! Reads a policy from the contents of its files, or says what is wrong with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use auto_ext_service::config_file::format::Format;
use auto_ext_service::config_file::tree;

use crate::files::Files;
use crate::lists::ListFiles;
use crate::policy::Policy;
use auto_ext_service::config_file::error::{
    ConfigError as PolicyError, Location, Problem, Problems, Warning, judge,
};
use auto_ext_service::config_file::utf8::utf8;
use auto_ext_service::config_file::{lookalike, yaml};

use crate::schema;

/// The largest file of a policy, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// What it is called in messages.
const FORMAT: Format = Format {
    name: "a policy",
    least: "`version: 1` and `rules`",
};

/// The sections of which the places are kept.
const SECTIONS_WITH_PLACES: [&str; 3] = ["schedulers", "lists", "metrics"];

/// A valid policy, and the warnings about the files it came from. Two that differ only in comments and layout are equal
/// policies, though their warnings differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The policy.
    pub policy: Policy,
    /// File by file, and in each in its order: rules that never apply, schedulers and lists that no rule uses, characters
    /// that look like others. Of each file at most 300, and one that counts the others.
    pub warnings: Vec<Warning>,
    /// Where the values of `schedulers`, `lists` and `metrics` are, by their keys joined with dots, such as
    /// `metrics.textfile`.
    pub places: BTreeMap<String, InFile>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFile {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub at: Location,
}

impl Policy {
    /// Reads a policy from `text`; `path` only names it in errors.
    ///
    /// # Errors
    /// When `text` is not one YAML document without anchors, aliases and tags, or is not a valid
    /// policy. The error lists every problem with its line and column.
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, PolicyError> {
        Checked::parse(path, text).map(|checked| checked.policy)
    }
}

impl Checked {
    /// Reads a policy from the contents of a file; `path` only names it in errors. Of a longer file than [`MAX_BYTES`],
    /// one byte more is enough.
    ///
    /// # Errors
    /// When it is longer than [`MAX_BYTES`], when it is not UTF-8, and those of [`Policy::parse`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Self, PolicyError> {
        Self::from_files(Files::alone(path.as_ref(), bytes))
    }

    /// As [`Policy::parse`], with the warnings.
    ///
    /// # Errors
    /// Those of [`Policy::parse`].
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, PolicyError> {
        Self::from_bytes(path, text.as_bytes().to_vec())
    }

    /// Reads a policy from all its files. Rules of the first come before those of the others, and so on.
    ///
    /// # Errors
    /// When one of them could not be read, those of [`Self::from_bytes`] of each, and names that are defined twice.
    pub fn from_files(files: Files<'_>) -> Result<Self, PolicyError> {
        let Files {
            main,
            parts,
            read_list,
        } = files;
        let (paths, contents): (Vec<_>, Vec<_>) = std::iter::once(main)
            .chain(parts)
            .map(|file| (file.path, file.contents))
            .unzip();
        let mut problems = Problems::of_each(paths);
        let mut texts = Vec::new();
        let mut roots = Vec::new();
        for (problems, contents) in problems.iter_mut().zip(contents) {
            match text(contents) {
                Ok(text) => {
                    match tree(&text, FORMAT) {
                        Ok(root) => roots.push(root),
                        Err(problem) => problems.add_problem(problem),
                    }
                    texts.push(text);
                }
                Err(problem) => {
                    problems.add_problem(problem);
                    texts.push(String::new());
                }
            }
        }
        let mut policy = Policy::default();
        let mut lists = ListFiles::new(read_list);
        if roots.len() == problems.len() {
            policy = schema::policy(&mut problems, &roots, &mut lists);
        }
        for (problems, text) in problems.iter_mut().zip(&texts) {
            lookalike::explain(problems, text);
        }
        let mut places = BTreeMap::new();
        for (problems, root) in problems.iter_mut().zip(&roots) {
            lookalike::warn(problems, root);
            add_places(problems.path(), root, &mut places);
        }
        problems.extend(lists.into_problems());
        let warnings = judge(problems)?;
        Ok(Self {
            policy,
            warnings,
            places,
        })
    }
}

fn add_places(path: &Path, root: &yaml::Node, places: &mut BTreeMap<String, InFile>) {
    let mut found = BTreeMap::new();
    for section in SECTIONS_WITH_PLACES {
        root.add_places(section, "", &mut found);
    }
    places.extend(found.into_iter().map(|(key, at)| {
        let path = path.to_owned();
        (key, InFile { path, at })
    }));
}

/// What is in a file, if it could be read and is as long as a policy may be.
fn text(contents: Result<Vec<u8>, String>) -> Result<String, Problem> {
    let bytes = contents.map_err(Problem::with_file)?;
    if bytes.len() > MAX_BYTES {
        return Err(Problem::with_file(
            "the file is larger than 1 MiB, which no policy needs; is it the right file?",
        ));
    }
    utf8(bytes)
}
