//! The exit codes of the command line, and the errors that carry one.

use std::fmt;

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
