//! What the sources report.

use auto_ext_core::Explanation;

use super::model::{Facts, Measured};
use super::ui::Note;
use crate::persistence::history::Entry;

/// News from one of the sources.
pub(super) enum News {
    /// What the daemon says of itself.
    Facts(Box<Facts>),
    /// Its last decision.
    Why(Box<Explanation>),
    /// The history, the newest entry first.
    History(Vec<Entry>),
    /// The daemon does not answer, for this reason.
    DaemonIsGone(String),
    /// A window that was measured here.
    Measured(Box<Measured>),
    /// The load cannot be measured here, for this reason.
    CannotMeasure(String),
    /// The outcome of what a person asked for.
    Answer(Note),
}
