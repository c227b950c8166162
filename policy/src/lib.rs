//! The policy: which scheduler runs for which load. Read from the texts of `policies.yaml` and of the files beside it.
//!
//! Owns the format, its limits and its errors, and which rule applies when. Pure: files are read elsewhere, as it is found
//! out elsewhere whether a scheduler is installed and which processes run.
//!
//! How its `files` are read: the crate `service` makes a tree of each that knows the place of every value; `schema` with `schedulers`,
//! `lists`, `rules`, `when`, `metrics`, `compat` and `trials` gives keys and values their meaning. All problems of this second step are
//! reported at once; one of the first stands alone, as whatever follows from it says nothing. `json_schema` describes the same format to editors.

mod candidate;
mod compat;
mod conditions;
mod descendants;
mod files;
mod json_schema;
pub mod known;
mod lists;
mod metrics;
mod parse;
mod pattern;
mod policy;
mod programs;
mod rules;
mod schedulers;
mod schema;
mod selection;
mod trials;
mod when;

pub use auto_ext_service::config_file::error::{
    ConfigError as PolicyError, Location, Problem, Warning,
};
pub use auto_ext_service::config_file::fields::MAX_FILE_NAME;
pub use candidate::{Candidate, KERNEL, MAX_COMMAND_LINE, Scheduler, file_name};
pub use compat::{Compat, Switch};
pub use conditions::{Conditions, Context, Power, Precedence, Profile};
pub use descendants::Descendants;
pub use files::{File, Files, MAX_PARTS, ReadList};
pub use json_schema::json_schema;
pub use lists::{MAX_LIST_BYTES, MAX_NAMES};
pub use metrics::{Listen, Metrics};
pub use parse::{Checked, InFile, MAX_BYTES};
pub use pattern::{Pattern, PatternError};
pub use policy::{Foreign, NO_CLASS, Policy, Rule, Stability};
pub use programs::{List, Programs};
pub use schedulers::{MAX_ARG, MAX_ARGS};
pub use schema::{MAX_WINDOW, MIN_WINDOW};
pub use selection::Selection;
pub use trials::{Goal, TrialMode, Trials};
