//! One daemon at a time: a lock on a file in /run that the daemon holds as long as it runs, and that says which
//! process holds it.
//!
//! Where it is does not depend on how the daemon was started: there is one kernel, and one host.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Nobody else can open the file, and so nobody else can hold it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o755;
/// How much of the file is read, in bytes: more than any PID has.
const MAX_PID: u64 = 16;

/// Why the lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon runs.
    #[error("another {service} runs already{holder} and holds {path}; this one changed nothing", path = .path.display(), holder = process(*.holder))]
    Held {
        /// Which, by its name.
        service: &'static str,
        /// What it holds.
        path: PathBuf,
        /// Its process, where that is known.
        holder: Option<u32>,
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

fn process(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(", as process {pid},"))
}

/// The lock, until this is dropped. Programs that the daemon starts do not inherit it.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
}

impl DaemonLock {
    /// Takes the lock of `service` at `path`, whose directory may be missing: it is made by systemd, or by nobody.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be opened.
    pub fn take(service: &'static str, path: &Path) -> Result<Self, LockError> {
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
                write_holder(&mut file);
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

fn write_holder(file: &mut File) {
    let pid = std::process::id();
    let said = file
        .set_len(0)
        .and_then(|()| file.write_all(format!("{pid}\n").as_bytes()));
    // In a full /run it does not say who holds it, and holds all the same.
    drop(said);
}

/// Who holds the lock; not known in the moment between taking it and saying so.
fn holder(file: File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_PID).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
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
        let first = DaemonLock::take("auto-ext", &path).unwrap();
        let error = DaemonLock::take("auto-ext", &path).unwrap_err();
        let LockError::Held { holder, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*holder, Some(std::process::id()));
        let said = format!("as process {}", std::process::id());
        assert!(error.to_string().contains(&said), "{error}");
        drop(first);
        DaemonLock::take("auto-ext", &path).unwrap();
    }

    #[test]
    fn nobody_else_can_open_the_lock_and_no_scheduler_inherits_it() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("auto-ext/lock");
        let lock = DaemonLock::take("auto-ext", &path).unwrap();
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
        DaemonLock::take("auto-ext", &path).unwrap();
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let run = tempfile::tempdir().unwrap();
        let precious = run.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let path = run.path().join("lock");
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(matches!(
            DaemonLock::take("auto-ext", &path),
            Err(LockError::File { .. })
        ));
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
