//! One daemon at a time: a lock on a file in /run that the daemon holds as long as it runs, and that says which
//! process holds it. Commands that do without a daemon what else it does hold it too, and say which they are.
//!
//! Where it is does not depend on how the daemon was started: there is one kernel, and one scheduler.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where the lock is.
pub(crate) const FILE: &str = "/run/auto-ext/lock";
/// Nobody else can open the file, and so nobody else can hold it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o755;
/// How much of the file is read, in bytes: more than any PID and command have.
const MAX_HOLDER: u64 = 32;

/// Who holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The daemon, as long as it runs.
    Daemon,
    /// `auto-ext compare`, until something is known.
    Compare,
    /// `auto-ext trials --import`, for a moment.
    Trials,
}

/// A process that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockHolder {
    pid: u32,
    role: Role,
}

/// Why the lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another daemon runs, or a command that keeps it from running.
    #[error("{holder} and holds {path}; this one changed nothing", path = .path.display(), holder = process(*.holder))]
    Held {
        path: PathBuf,
        holder: Option<LockHolder>,
    },
    #[error("{path}: {error}", path = .path.display())]
    File { path: PathBuf, error: io::Error },
}

fn process(holder: Option<LockHolder>) -> String {
    match holder {
        None => "another auto-ext runs already".to_owned(),
        Some(LockHolder {
            pid,
            role: Role::Daemon,
        }) => format!("another auto-ext runs already, as process {pid},"),
        Some(LockHolder { pid, role }) => format!(
            "`auto-ext {}` runs without the daemon, as process {pid}, until which has ended no other can run,",
            role.name()
        ),
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Compare => "compare",
            Self::Trials => "trials",
        }
    }
}

/// The lock, until this is dropped. Programs that the daemon starts do not inherit it.
#[derive(Debug)]
pub(crate) struct DaemonLock {
    _file: File,
}

impl DaemonLock {
    /// Takes the lock at `path`, whose directory may be missing: it is made by systemd, or by nobody.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be opened.
    pub(crate) fn take(path: &Path, role: Role) -> Result<Self, LockError> {
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
                        path: path.to_owned(),
                        holder: holder(file),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(in_file(error)),
            }
            // The file may have been removed between both steps, and another one made.
            if is_at(&file, path).map_err(in_file)? {
                write_holder(&mut file, role);
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

fn write_holder(file: &mut File, role: Role) {
    let pid = std::process::id();
    let said = file
        .set_len(0)
        .and_then(|()| file.write_all(format!("{pid} {}\n", role.name()).as_bytes()));
    if let Err(error) = said {
        // In a full /run; the lock holds all the same.
        tracing::debug!("the lock does not say who holds it: {error}");
    }
}

/// Who holds the lock; not known in the moment between taking it and saying so.
fn holder(file: File) -> Option<LockHolder> {
    let mut text = String::new();
    file.take(MAX_HOLDER).read_to_string(&mut text).ok()?;
    let mut words = text.split_whitespace();
    let pid = words.next()?.parse().ok()?;
    // An earlier version's daemon says its number alone.
    let name = words.next().unwrap_or(Role::Daemon.name());
    let roles = [Role::Daemon, Role::Compare, Role::Trials];
    let role = roles.into_iter().find(|role| role.name() == name)?;
    Some(LockHolder { pid, role })
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
        for (role, says) in [
            (Role::Daemon, "another auto-ext runs already"),
            (Role::Compare, "`auto-ext compare` runs without the daemon"),
            (Role::Trials, "`auto-ext trials` runs without the daemon"),
        ] {
            let first = DaemonLock::take(&path, role).unwrap();
            let error = DaemonLock::take(&path, Role::Daemon).unwrap_err();
            let LockError::Held { holder, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(*holder, Some(LockHolder { pid, role }));
            let said = error.to_string();
            assert!(said.starts_with(says), "{said}");
            assert!(said.contains(&format!("as process {pid}")), "{said}");
            drop(first);
        }
        DaemonLock::take(&path, Role::Daemon).unwrap();
    }

    #[test]
    fn who_says_its_number_alone_is_a_daemon() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("lock");
        for (text, expected) in [
            ("7\n", Some(Role::Daemon)),
            ("7 compare\n", Some(Role::Compare)),
            ("7 game\n", None),
            ("", None),
            ("x\n", None),
        ] {
            fs::write(&path, text).unwrap();
            let role = holder(File::open(&path).unwrap()).map(|holder| holder.role);
            assert_eq!(role, expected, "{text}");
        }
    }

    #[test]
    fn nobody_else_can_open_the_lock_and_no_scheduler_inherits_it() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("auto-ext/lock");
        let lock = DaemonLock::take(&path, Role::Daemon).unwrap();
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
        DaemonLock::take(&path, Role::Daemon).unwrap();
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let run = tempfile::tempdir().unwrap();
        let precious = run.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let path = run.path().join("lock");
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(matches!(
            DaemonLock::take(&path, Role::Daemon),
            Err(LockError::File { .. })
        ));
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
