//! Reads a policy from the text of a file, or says what is wrong with it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Location, PolicyError, Problem, Problems, Warning};
use crate::policy::Policy;
use crate::{lookalike, schema, yaml};

/// The largest policy, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// A valid policy, and the warnings about the file it came from. Two files that differ only in
/// comments and layout have equal policies, though their warnings differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The policy.
    pub policy: Policy,
    /// In the order of the file: rules that never apply, schedulers that no rule uses, characters that look like
    /// others. At most 300, and one that counts the others.
    pub warnings: Vec<Warning>,
    /// Where the values of `schedulers` and `metrics` are in the file, by their keys joined with dots, such as
    /// `metrics.textfile`.
    pub places: BTreeMap<String, Location>,
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
        let path = path.as_ref();
        let text = require_size(bytes.len())
            .and_then(|()| String::from_utf8(bytes).map_err(|error| not_utf8(&error)))
            .map_err(|problem| problem.in_file(path))?;
        Self::parse(path, &text)
    }

    /// As [`Policy::parse`], with the warnings.
    ///
    /// # Errors
    /// Those of [`Policy::parse`].
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        let explained = |error| lookalike::explain(error, text);
        let root = tree(text).map_err(|problem| explained(problem.in_file(path)))?;
        let mut problems = Problems::default();
        let policy = schema::policy(&mut problems, &root);
        lookalike::warn(&mut problems, &root);
        let (policy, warnings) = problems.or(path, policy).map_err(explained)?;
        let mut places = BTreeMap::new();
        for section in ["schedulers", "metrics"] {
            root.add_places(section, "", &mut places);
        }
        Ok(Self {
            policy,
            warnings,
            places,
        })
    }
}

/// The one document in `text`.
fn tree(text: &str) -> Result<yaml::Node, Problem> {
    require_size(text.len())?;
    yaml::refuse_tabs(text)?;
    lookalike::refuse_indentation(text)?;
    yaml::parse(text)
}

/// Refuses more than [`MAX_BYTES`].
fn require_size(bytes: usize) -> Result<(), Problem> {
    if bytes > MAX_BYTES {
        return Err(Problem::with_file(
            "the file is larger than 1 MiB, which no policy needs; is it the right file?",
        ));
    }
    Ok(())
}

fn not_utf8(error: &std::string::FromUtf8Error) -> Problem {
    let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
    let before = String::from_utf8_lossy(valid);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let at = Location {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    };
    let byte = rest.first().copied().unwrap_or_default();
    Problem::new(
        at,
        format!("byte 0x{byte:02x} is not UTF-8 text; save the file as UTF-8"),
    )
}
