//! Policies that are read from disk, whatever is there.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use auto_ext_dispatcher::policy::Policy;

use crate::{CONTRACT, errors};

/// `Policy::load` of `path`, which must answer within ten seconds.
fn load_errors(path: &Path) -> String {
    let (sender, receiver) = mpsc::channel();
    let owned = path.to_owned();
    std::thread::spawn(move || {
        let error = Policy::load(owned).err();
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
    let message =
        "F:1:1: error: the file is larger than 1 MiB, which no policy needs; is it the right file?";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.yaml");
    std::fs::write(&path, "#".repeat(10_000_000)).unwrap();
    assert_eq!(load_errors(&path), message);
    assert_eq!(errors(&"#".repeat(10_000_000)), message);

    let comment = "#".repeat((1 << 20) - CONTRACT.len());
    std::fs::write(&path, format!("{CONTRACT}{comment}")).unwrap();
    assert_eq!(Policy::load(&path), Policy::parse(&path, CONTRACT));
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
