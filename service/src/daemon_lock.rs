//! One daemon at a time: a lock on a file in /run that the daemon holds as long as it runs, and that says which
//! process holds it. Commands that do without a daemon what else it does hold it too, and say which they are.
//!
//! Where it is does not depend on how the daemon was started: there is one kernel, and one host.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Nobody else can open the file, and so nobody else can hold it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o755;
/// How much of the file is read, in bytes: more than any PID and command have.
const MAX_HOLDER: u64 = 32;

/// What the daemon calls itself.
pub const DAEMON: &str = "daemon";

/// A process that holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Its number.
    pub pid: u32,
    /// Which command of the service it is: [`DAEMON`], or one that does without.
    pub command: String,
}

/// Why the lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon runs, or a command that keeps it from running.
    #[error("{holder} and holds {path}; this one changed nothing", path = .path.display(), holder = process(service, holder.as_ref()))]
    Held {
        /// The service, by its name.
        service: &'static str,
        /// What is held.
        path: PathBuf,
        /// By whom, where that is known.
        holder: Option<LockHolder>,
    },
    /// The file cannot be used.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn process(service: &str, holder: Option<&LockHolder>) -> String {
    match holder {
        None => format!("another {service} runs already"),
        Some(LockHolder { pid, command }) if command == DAEMON => {
            format!("another {service} runs already, as process {pid},")
        }
        Some(LockHolder { pid, command }) => format!(
            "`{service} {command}` runs without the daemon, as process {pid}, until which has ended no other can run,"
        ),
    }
}

/// The lock, until this is dropped. Programs that the daemon starts do not inherit it.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
}

impl DaemonLock {
    /// Takes the lock of `service` at `path` for one of its commands. The directory may be missing: it is made by systemd, or
    /// by nobody.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be opened.
    pub fn take(
        service: &'static str,
        command: &'static str,
        path: &Path,
    ) -> Result<Self, LockError> {
        let in_file = |error| LockError::File {
            path: path.to_owned(),
            error,
        };
        loop {
            let mut file = open(path).map_err(in_file)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held {
                        service,
                        path: path.to_owned(),
                        holder: holder(file),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(in_file(error)),
            }
            // The file may have been removed between both steps, and another one made.
            if is_at(&file, path).map_err(in_file)? {
                write_holder(&mut file, command);
                return Ok(Self { _file: file });
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    // The standard library adds O_CLOEXEC.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
}

/// Whether this is the file that others find at `path`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_holder(file: &mut File, command: &str) {
    let pid = std::process::id();
    let said = file
        .set_len(0)
        .and_then(|()| file.write_all(format!("{pid} {command}\n").as_bytes()));
    // In a full /run it does not say who holds it, and holds all the same.
    drop(said);
}

/// Who holds the lock; not known in the moment between taking it and saying so.
fn holder(file: File) -> Option<LockHolder> {
    let mut text = String::new();
    file.take(MAX_HOLDER).read_to_string(&mut text).ok()?;
    let mut words = text.split_whitespace();
    let pid = words.next()?.parse().ok()?;
    // An earlier version's daemon says its number alone.
    let command = words.next().unwrap_or(DAEMON);
    let is_word = command.bytes().all(|letter| letter.is_ascii_lowercase());
    is_word.then(|| LockHolder {
        pid,
        command: command.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_second_daemon_hears_who_holds_the_lock_until_the_first_has_gone() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("auto-ext/lock");
        let pid = std::process::id();
        for (command, says) in [
            (DAEMON, "another auto-ext runs already"),
            ("compare", "`auto-ext compare` runs without the daemon"),
            ("trials", "`auto-ext trials` runs without the daemon"),
        ] {
            let first = DaemonLock::take("auto-ext", command, &path).unwrap();
            let error = DaemonLock::take("auto-ext", DAEMON, &path).unwrap_err();
            let LockError::Held { holder, .. } = &error else {
                panic!("{error}");
            };
            let command = command.to_owned();
            assert_eq!(*holder, Some(LockHolder { pid, command }));
            let said = error.to_string();
            assert!(said.starts_with(says), "{said}");
            assert!(said.contains(&format!("as process {pid}")), "{said}");
            drop(first);
        }
        DaemonLock::take("auto-ext", DAEMON, &path).unwrap();
    }

    #[test]
    fn who_says_its_number_alone_is_a_daemon() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("lock");
        for (text, expected) in [
            ("7\n", Some(DAEMON)),
            ("7 compare\n", Some("compare")),
            ("7 \u{1b}[2J\n", None),
            ("", None),
            ("x\n", None),
        ] {
            fs::write(&path, text).unwrap();
            let command = holder(File::open(&path).unwrap()).map(|holder| holder.command);
            assert_eq!(command.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn nobody_else_can_open_the_lock_and_no_scheduler_inherits_it() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("auto-ext/lock");
        let lock = DaemonLock::take("auto-ext", DAEMON, &path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), FILE_MODE);
        assert_eq!(mode(path.parent().unwrap()), DIRECTORY_MODE);
        let flags = fs::read_to_string(format!("/proc/self/fdinfo/{}", lock._file.as_raw_fd()));
        let flags = flags.unwrap();
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert!(flags & nix::libc::O_CLOEXEC != 0);
    }

    #[test]
    fn a_lock_that_was_removed_is_not_taken_for_the_one_at_its_place() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("lock");
        let removed = open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&removed, &path).unwrap());
        open(&path).unwrap();
        assert!(!is_at(&removed, &path).unwrap());
        DaemonLock::take("auto-ext", DAEMON, &path).unwrap();
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let run = tempfile::tempdir().unwrap();
        let precious = run.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let path = run.path().join("lock");
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(matches!(
            DaemonLock::take("auto-ext", DAEMON, &path),
            Err(LockError::File { .. })
        ));
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
