//! Reads a policy from disk: its file, the files in the directory beside it, and those of its lists. All are regular files
//! of bounded size.

use std::path::{Path, PathBuf};

use auto_ext_policy::{
    Checked, File, Files, Location, MAX_BYTES, MAX_LIST_BYTES, Policy, PolicyError, Warning,
};

use super::bounded_file::{self, ReadError};
use super::policy_directory;

/// Where the policy is installed.
pub(crate) const INSTALLED: &str = "/etc/auto-ext/policies.yaml";

/// A policy, and what it was read from.
pub(crate) struct Reading {
    /// The policy, or what is wrong with it.
    pub(crate) checked: Result<Checked, PolicyError>,
    /// Its file and those in the directory beside it.
    pub(crate) files: Vec<PathBuf>,
    /// The files of its lists, those too that cannot be read.
    pub(crate) lists: Vec<PathBuf>,
}

/// The policy at `path` with all that belongs to it.
pub(crate) fn load(path: &Path) -> Result<Policy, PolicyError> {
    read(path).checked.map(|checked| checked.policy)
}

/// As [`load`], with the warnings and what was read.
pub(crate) fn read(path: &Path) -> Reading {
    let directory = policy_directory::beside(path);
    let found = match policy_directory::find(&directory) {
        Ok(found) => found,
        Err(why) => {
            return Reading {
                checked: Err(PolicyError::with_file(&directory, why)),
                files: vec![path.to_owned()],
                lists: Vec::new(),
            };
        }
    };
    let mut lists = Vec::new();
    let checked = Checked::from_files(Files {
        main: file(path),
        parts: found.parts.iter().map(|part| file(part)).collect(),
        read_list: Box::new(|path| {
            lists.push(path.to_owned());
            bounded_file::read(path, MAX_LIST_BYTES).map_err(|error| error.to_string())
        }),
    });
    let mut files = vec![path.to_owned()];
    files.extend(found.parts);
    Reading {
        checked: checked.map(|checked| warn_of(&found.others, checked)),
        files,
        lists,
    }
}

fn file(path: &Path) -> File {
    let contents = bounded_file::read(path, MAX_BYTES).map_err(|error| match error {
        ReadError::NotRegular(what) => {
            format!("this is {what}; a policy must be a regular file")
        }
        ReadError::Unreadable(why) => format!("cannot read the policy: {why}"),
    });
    File {
        path: path.to_owned(),
        contents,
    }
}

/// Warns of files that are not read because of their names.
fn warn_of(others: &[PathBuf], mut checked: Checked) -> Checked {
    let warning = |path: &PathBuf| {
        let message = "this file is not read; let its name end in `.yaml`";
        Warning::new(path, Location::START, message)
    };
    checked.warnings.extend(others.iter().map(warning));
    checked
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
    fn the_files_beside_a_policy_and_those_of_its_lists_belong_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let here = |name: &str| directory.path().join(name);
        std::fs::write(here("policies.yaml"), CONTRACT).unwrap();
        let alone = read(&here("policies.yaml"));
        assert_eq!(alone.files, [here("policies.yaml")]);
        std::fs::create_dir(here("policies.d")).unwrap();
        let part = "version: 1\nlists: {mine: {file: mine.txt}, more: {file: ../more.txt}}\n\
                    rules: [{class: mine, when: {process: [{list: mine}, {list: more}]}, use: [kernel]}]\n";
        std::fs::write(here("policies.d/mine.yaml"), part).unwrap();
        std::fs::write(here("policies.d/mine.yml"), "nonsense").unwrap();
        std::fs::write(here("more.txt"), "more\n").unwrap();
        let missing = read(&here("policies.yaml"));
        let lists = [here("policies.d/mine.txt"), here("policies.d/../more.txt")];
        assert_eq!(missing.lists, lists);
        let part = here("policies.d/mine.yaml");
        let expected = format!("{}:2:22: error: the list", part.display());
        let error = missing.checked.unwrap_err().to_string();
        assert!(
            error.starts_with(&expected) && error.ends_with("there is no such file"),
            "{error}"
        );
        std::fs::write(here("policies.d/mine.txt"), "mine\n").unwrap();
        let all = read(&here("policies.yaml"));
        assert_eq!(
            (all.files, all.lists.len()),
            (vec![here("policies.yaml"), part], 2)
        );
        let checked = all.checked.unwrap();
        assert_eq!(checked.policy.rules.last().unwrap().class, "mine");
        let warned = checked.warnings.last().unwrap().to_string();
        assert!(
            warned.contains("mine.yml:1:1: warning: this file is not read"),
            "{warned}"
        );
        std::fs::write(here("policies.d/z.yaml"), "rules: [").unwrap();
        assert!(
            load(&here("policies.yaml"))
                .unwrap_err()
                .to_string()
                .contains("z.yaml:1:")
        );
        // Another policy has a directory of its own.
        std::fs::write(here("draft.yaml"), CONTRACT).unwrap();
        assert!(load(&here("draft.yaml")).is_ok());
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
