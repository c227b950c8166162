//! Attaches the profiler. An error has the exit code that scripts rely on.

use auto_ext_profiler::{AttachError, Profiler};
use auto_ext_service::exit_code::{Code, WithCode};

/// Attaches the profiler.
pub(crate) fn attach() -> anyhow::Result<Profiler> {
    Profiler::attach().map_err(|error| refused(&error))
}

/// The error with its exit code.
pub(crate) fn refused(error: &AttachError) -> anyhow::Error {
    let code = match error {
        AttachError::NotPermitted => Code::NotPermitted,
        AttachError::NoBtf(_) | AttachError::Object(_) => Code::Failed,
    };
    WithCode::error(code, error.to_string())
}
