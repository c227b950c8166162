//! The exit codes of the command line, and the errors that carry one.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

/// The exit codes other than 0 (done) and 2 (bad usage, which clap returns). Scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Something failed.
    Failed = 1,
    /// The daemon does not run.
    NoDaemon = 3,
    /// The caller may not do this.
    NotPermitted = 4,
}

/// The exit code that passes on how a command ended: its own, or 128 plus the signal's number where a signal ended it,
/// as shells do.
#[must_use]
pub fn of_command(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    ExitCode::from(code)
}

/// An error that says with which exit code the program is to end; found in the chain of an `anyhow::Error`.
#[derive(Debug)]
pub struct WithCode {
    /// The exit code.
    pub code: Code,
    /// At another time it may go well: whoever asked did nothing wrong.
    pub is_for_now: bool,
    message: String,
}

impl WithCode {
    /// An error with this exit code and message.
    pub fn error(code: Code, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self {
            code,
            is_for_now: false,
            message: message.into(),
        })
    }

    /// As [`Self::error`], of what may go well at another time.
    pub fn for_now(code: Code, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self {
            code,
            is_for_now: true,
            message: message.into(),
        })
    }
}

impl fmt::Display for WithCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for WithCode {}
