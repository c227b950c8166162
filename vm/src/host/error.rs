//! Why something cannot be seen or done.

use std::io;
use std::path::PathBuf;

use crate::snapshot::GuestId;

/// Why something cannot be seen of a host or done to it.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A socket or a file cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Who was asked says no.
    #[error("{asked}: {message}")]
    Refused {
        /// What was asked.
        asked: &'static str,
        /// The answer, which is to be sanitized where it is shown.
        message: String,
    },
    /// What was answered is against its own rules.
    #[error("{}: {why}", from.display())]
    Garbled {
        /// Where it came from.
        from: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There was no answer in time. It may still be done.
    #[error("{asked}: no answer in time")]
    Late {
        /// What was asked.
        asked: &'static str,
    },
    /// The guest has not answered something else yet, and is asked nothing until it does.
    #[error("guest {0} has not answered yet")]
    Hangs(GuestId),
    /// There is no such guest, or no such vCPU.
    #[error("there is no {0}")]
    Gone(String),
    /// It is not done, as what was there before could not be kept.
    #[error("what it was before could not be kept")]
    NotKept,
}
