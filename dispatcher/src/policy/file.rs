//! Reads a policy from disk: a regular file of bounded size, in UTF-8. Never waits for anyone.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::error::{Location, Problem};
use crate::reach;

/// The largest policy that is read, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The text of the file at `path`.
pub(super) fn read(path: &Path) -> Result<String, Problem> {
    // Asked before opening as well: to open a device can already do something to it.
    let unreadable = |error: &io::Error| unreadable(error, path);
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    require_regular(&metadata)?;
    // A FIFO that took the file's place in between fails to read instead of waiting for a writer.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    require_regular(&metadata)?;
    require_size(metadata.len())?;

    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    require_size(bytes.len() as u64)?;
    String::from_utf8(bytes).map_err(|error| not_utf8(&error))
}

/// Refuses more than [`MAX_BYTES`].
pub(super) fn require_size(bytes: u64) -> Result<(), Problem> {
    if bytes > MAX_BYTES {
        return Err(Problem::with_file(
            "the file is larger than 1 MiB, which no policy needs; is it the right file?",
        ));
    }
    Ok(())
}

fn require_regular(metadata: &Metadata) -> Result<(), Problem> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Problem::with_file(format!(
        "this is {what}; a policy must be a regular file"
    )))
}

fn unreadable(error: &io::Error, path: &Path) -> Problem {
    let why = match (error.kind(), reach::why_the_service_cannot_read(path)) {
        (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied, Some(why)) => why,
        (io::ErrorKind::NotFound, _) => "there is no such file".to_owned(),
        (io::ErrorKind::PermissionDenied, _) => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Problem::with_file(format!("cannot read the policy: {why}"))
}

fn not_utf8(error: &std::string::FromUtf8Error) -> Problem {
    let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
    let before = String::from_utf8_lossy(valid);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let at = Location {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    };
    let byte = rest.first().copied().unwrap_or_default();
    Problem::new(
        at,
        format!("byte 0x{byte:02x} is not UTF-8 text; save the file as UTF-8"),
    )
}
