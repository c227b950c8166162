//! The exit codes of the command line, and the errors that carry one.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

/// Exit codes but 0 (done) and 2 (bad usage, which clap gives); part of the contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Something failed.
    Failed = 1,
    /// The daemon does not run.
    NoDaemon = 3,
    /// The caller may not do this.
    NotPermitted = 4,
}

/// The exit code of a command that was run, to be passed through: 128 and the signal's number where
/// a signal ended it, as shells do.
pub(crate) fn of_command(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    ExitCode::from(code)
}

/// Which exit code an error asks for; found in the chain of an `anyhow::Error`.
#[derive(Debug)]
pub(crate) struct WithCode {
    pub(crate) code: Code,
    message: String,
}

impl WithCode {
    pub(crate) fn error(code: Code, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self {
            code,
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
