//! Reads what somebody gave a path of: a regular file, of which no more than is asked for. Never waits for another process.

use std::fmt;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use auto_ext_service::file_access;
use nix::fcntl::OFlag;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// It is no regular file, but this.
    NotRegular(&'static str),
    /// In words.
    Unreadable(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegular(what) => write!(f, "this is {what}, not a regular file"),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

/// The contents of the file, at most one byte more than `max`.
pub(crate) fn read(path: &Path, max: usize) -> Result<Vec<u8>, ReadError> {
    // Checked before it is opened as well, as opening a device can have an effect.
    let unreadable = |error: &io::Error| ReadError::Unreadable(why(error, path));
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    require_regular(&metadata)?;
    // A FIFO that replaced the file in between fails to be read instead of waiting for a writer.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    require_regular(&metadata)?;

    let mut bytes = Vec::new();
    file.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

fn require_regular(metadata: &Metadata) -> Result<(), ReadError> {
    let kind = metadata.file_type();
    Err(ReadError::NotRegular(if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }))
}

fn why(error: &io::Error, path: &Path) -> String {
    match (error.kind(), file_access::why_the_service_cannot_read(path)) {
        (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied, Some(why)) => why,
        (io::ErrorKind::NotFound, _) => "there is no such file".to_owned(),
        (io::ErrorKind::PermissionDenied, _) => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
