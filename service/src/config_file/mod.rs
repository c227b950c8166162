//! Configuration files in YAML, read so that a person is told what is wrong with one and where: all of it at once, with
//! line and column.
//!
//! [`tree()`] makes a tree of a text that knows the place of every value, by `yaml` with `syntax` for what the parser says and `lookalike` for
//! characters that were pasted and look like others. [`fields`] gives typed access to it and reports to [`error::Problems`],
//! helped by [`suggest`]. What keys and values mean is left to who reads the file; `json_schema` has what schemas for editors are made of.

pub mod error;
pub mod fields;
pub mod format;
pub mod json_schema;
pub mod lookalike;
pub mod suggest;
mod syntax;
pub mod utf8;
pub mod yaml;

/// The tree of the one document in `text`.
///
/// # Errors
/// When it is not one document of YAML without anchors, aliases and tags: the first problem, as whatever follows from it says nothing.
pub fn tree(text: &str, format: format::Format) -> Result<yaml::Node, error::Problem> {
    yaml::refuse_tabs(text)?;
    lookalike::refuse_indentation(text)?;
    yaml::parse(text, format)
}
