//! Owns the creation of the files that commands write, as root: they replace nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::fcntl::OFlag;

/// The name that stands for standard output.
pub(crate) const STDOUT: &str = "-";

/// Creates the file. As this runs as root, nothing is overwritten and no link followed: what is there already must
/// be an empty file.
pub(crate) fn create(path: &Path) -> anyhow::Result<File> {
    if path.as_os_str() == STDOUT {
        return Ok(io::stdout().as_fd().try_clone_to_owned()?.into());
    }
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => {
            return created.with_context(|| format!("{}: cannot be created", path.display()));
        }
    }
    // A FIFO without a reader is an error rather than something to wait for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open(path);
    if let Ok(file) = file
        && let Ok(metadata) = file.metadata()
        && metadata.is_file()
        && metadata.len() == 0
    {
        return Ok(file);
    }
    bail!(
        "{}: is there already, and is not an empty file; nothing is overwritten",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_trace_goes_into_a_new_or_an_empty_file_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        for _ in ["new", "empty"] {
            drop(create(&path).unwrap());
        }
        create(&path).unwrap().write_all(b"a trace").unwrap();
        let error = create(&path).unwrap_err().to_string();
        assert!(error.ends_with("nothing is overwritten"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"a trace");
    }

    #[test]
    fn a_trace_goes_neither_through_a_link_nor_into_a_device_or_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        let link = directory.path().join("link");
        symlink(&target, &link).unwrap();
        assert!(create(&link).is_err());
        assert!(!target.exists());
        fs::write(&target, "").unwrap();
        assert!(create(&link).is_err());
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(create(&fifo).is_err());
        assert!(create(directory.path()).is_err());
        assert!(create("/dev/null".as_ref()).is_err());
        let nowhere = directory.path().join("missing/trace");
        assert!(create(&nowhere).is_err());
    }
}
