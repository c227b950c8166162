//! Why a comparison ended.

use nix::sys::signal::Signal;

/// Why.
#[derive(Debug)]
pub(super) enum End {
    /// Something is known of every challenger.
    Decided,
    /// There were as many pairs as were asked for.
    Runs,
    /// There was no time for another pair.
    Time,
    /// A signal came, such as Ctrl-C.
    Signal(Signal),
    /// It could not go on.
    Failed(anyhow::Error),
}

impl End {
    /// In one word, for scripts.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Runs => "runs",
            Self::Time => "time",
            Self::Signal(_) => "interrupted",
            Self::Failed(_) => "failed",
        }
    }
}

impl From<anyhow::Error> for End {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
