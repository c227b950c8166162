//! Why there is no attach barrier, or none any more.

use std::io;

use nix::errno::Errno;

/// Why there is no attach barrier.
#[derive(Debug, thiserror::Error)]
pub enum BarrierError {
    /// There can be none here: seccomp's notifications are missing or forbidden, or (EBUSY) somebody
    /// else's filter takes them already, as in some containers. The program itself may well run
    /// without a barrier.
    #[error("no hot swap here: {step}: {error}")]
    Unsupported {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        error: Errno,
    },
    /// The program cannot be started, with a barrier or without.
    #[error(transparent)]
    Spawn(io::Error),
    /// What should not happen. The barrier is of no more use.
    #[error("the attach barrier broke: {step}: {error}")]
    Broken {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
}

pub(super) fn broken(step: &'static str, error: impl Into<io::Error>) -> BarrierError {
    let error = error.into();
    BarrierError::Broken { step, error }
}

/// What came of answering a call. That it has vanished meanwhile (ENOENT) is no error.
pub(super) fn answered(result: nix::Result<()>) -> Result<(), BarrierError> {
    match result {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(broken("answering a call", error)),
    }
}
