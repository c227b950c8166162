//! Reads a policy from disk: a regular file of bounded size. Never waits for another process.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use auto_ext_policy::{Checked, MAX_BYTES, Policy, PolicyError};
use auto_ext_service::file_access;
use nix::fcntl::OFlag;

/// Where the policy is installed.
pub(crate) const INSTALLED: &str = "/etc/auto-ext/policies.yaml";

/// The policy at `path`: a regular file of at most [`MAX_BYTES`].
pub(crate) fn load(path: &Path) -> Result<Policy, PolicyError> {
    check(path).map(|checked| checked.policy)
}

/// As [`load`], with the warnings.
pub(crate) fn check(path: &Path) -> Result<Checked, PolicyError> {
    let bytes = read(path).map_err(|why| PolicyError::with_file(path, why))?;
    Checked::from_bytes(path, bytes)
}

/// The contents of the file, at most one byte more than a policy may have; or why it cannot be read.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    // Checked before it is opened as well, as opening a device can have an effect.
    let unreadable = |error: &io::Error| unreadable(error, path);
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
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

fn require_regular(metadata: &Metadata) -> Result<(), String> {
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
    Err(format!("this is {what}; a policy must be a regular file"))
}

fn unreadable(error: &io::Error, path: &Path) -> String {
    let why = match (error.kind(), file_access::why_the_service_cannot_read(path)) {
        (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied, Some(why)) => why,
        (io::ErrorKind::NotFound, _) => "there is no such file".to_owned(),
        (io::ErrorKind::PermissionDenied, _) => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot read the policy: {why}")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const CONTRACT: &str = include_str!("../../../policy/tests/policy/files/contract.yaml");

    fn errors(text: String) -> String {
        Checked::from_bytes("F", text.into_bytes())
            .unwrap_err()
            .to_string()
    }

    /// `load` of `path`, which must answer within ten seconds.
    fn load_errors(path: &Path) -> String {
        let (sender, receiver) = mpsc::channel();
        let owned = path.to_owned();
        std::thread::spawn(move || {
            let error = load(&owned).err();
            sender.send(error.map(|error| error.to_string()).unwrap_or_default())
        });
        let error = receiver
            .recv_timeout(Duration::from_secs(10))
            .expect("load must never hang");
        let shown = path.display().to_string();
        error.replace(&shown, "F")
    }

    #[test]
    fn a_file_of_ten_megabytes_is_refused_unread_and_one_of_a_mebibyte_is_read() {
        let message = "F:1:1: error: the file is larger than 1 MiB, which no policy needs; is it the right file?";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.yaml");
        std::fs::write(&path, "#".repeat(10_000_000)).unwrap();
        assert_eq!(load_errors(&path), message);
        assert_eq!(errors("#".repeat(10_000_000)), message);

        let comment = "#".repeat((1 << 20) - CONTRACT.len());
        std::fs::write(&path, format!("{CONTRACT}{comment}")).unwrap();
        assert_eq!(load(&path), Policy::parse(&path, CONTRACT));
        std::fs::write(&path, format!("{CONTRACT}{comment}#")).unwrap();
        assert_eq!(load_errors(&path), message);
    }

    #[test]
    fn a_file_that_is_not_utf8_is_told_where() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.yaml");
        for (bytes, expected) in [
            (
                &b"version: 1\n# caf\xe9\n"[..],
                "F:2:6: error: byte 0xe9 is not UTF-8 text",
            ),
            (
                b"\xff\xfev\0e\0r\0",
                "F:1:1: error: byte 0xff is not UTF-8 text",
            ),
            (
                b"# \xc3\xa4\xc3",
                "F:1:4: error: byte 0xc3 is not UTF-8 text",
            ),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(
                load_errors(&path),
                format!("{expected}; save the file as UTF-8")
            );
        }
    }

    #[test]
    fn what_is_not_a_regular_file_is_named_and_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink(path("fifo"), path("link")).unwrap();
        for (path, what) in [
            (path("fifo"), "a named pipe"),
            (path("link"), "a named pipe"),
            (path("socket"), "a socket"),
            (path(""), "a directory"),
            ("/dev/zero".into(), "a device"),
        ] {
            let expected = format!("F:1:1: error: this is {what}; a policy must be a regular file");
            assert_eq!(load_errors(&path), expected);
        }
        let missing = "F:1:1: error: cannot read the policy: there is no such file";
        assert_eq!(load_errors(&path("missing")), missing);
    }
}
