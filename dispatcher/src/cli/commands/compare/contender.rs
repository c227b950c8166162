//! What is compared: a scheduler, perhaps with arguments of its own. Pure.

use std::fmt;

/// A scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contender {
    /// As in a rule's `use`.
    pub(super) scheduler: String,
    /// In place of the policy's; none where those are meant.
    pub(super) args: Vec<String>,
}

impl Contender {
    /// This one as the policy has it.
    pub(super) fn named(scheduler: &str) -> Self {
        Self {
            scheduler: scheduler.to_owned(),
            args: Vec::new(),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheduler)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}
