//! A host that somebody describes in a file, to see what would be done about it: `auto-ext-vm plan --scenario FILE`. All of the file is
//! bounded and checked here; what is wrong is told with its place.

mod file;
mod host;

pub use file::{MAX_BYTES, Scenario, ScenarioError, parse};
