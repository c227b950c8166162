//! Whether packages are installed, or were a moment ago, as the package managers' own locks and databases say: dpkg, rpm, pacman, apk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Who writes a database holds a lock on one of these.
const LOCKS: [&str; 4] = [
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/lock",
    "var/lib/rpm/.rpm.lock",
    "usr/lib/sysimage/rpm/.rpm.lock",
];
/// Is there only while somebody writes.
const MARKS: [&str; 1] = ["var/lib/pacman/db.lck"];
/// Changes with each package.
const DATABASES: [&str; 5] = [
    "var/lib/dpkg/status",
    "var/lib/rpm",
    "usr/lib/sysimage/rpm",
    "var/lib/pacman/local",
    "lib/apk/db",
];
/// How long that is a moment ago.
const AGO: Duration = Duration::from_mins(1);

/// Whether they are at `now`; `None` where that cannot be known. `root` is / but in tests.
pub(super) fn are_installed(root: &Path, now: SystemTime) -> Option<bool> {
    let mut any = false;
    for lock in LOCKS {
        any |= is_locked(&root.join(lock)).ok()?;
    }
    for mark in MARKS {
        any |= root.join(mark).try_exists().ok()?;
    }
    for database in DATABASES {
        any |= has_changed(&root.join(database), now).ok()?;
    }
    Some(any)
}

/// Whether a process holds a lock to write on the file at `path`; nobody does where there is none.
fn is_locked(path: &Path) -> io::Result<bool> {
    let Some(file) = there(File::open(path))? else {
        return Ok(false);
    };
    let mut lock = whole(libc::F_RDLCK)?;
    fcntl(&file, FcntlArg::F_GETLK(&mut lock))?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}

/// A lock of this kind on all of a file.
fn whole(kind: libc::c_int) -> io::Result<libc::flock> {
    let short = |number| libc::c_short::try_from(number).map_err(io::Error::other);
    Ok(libc::flock {
        l_type: short(kind)?,
        l_whence: short(libc::SEEK_SET)?,
        l_start: 0,
        // To its end.
        l_len: 0,
        l_pid: 0,
    })
}

/// Whether what is at `path` changed a moment ago.
fn has_changed(path: &Path, now: SystemTime) -> io::Result<bool> {
    let Some(metadata) = there(path.metadata())? else {
        return Ok(false);
    };
    let changed = metadata.modified()?;
    // It may be ahead of a clock that was set back.
    let ago = now
        .duration_since(changed)
        .unwrap_or_else(|error| error.duration());
    Ok(ago < AGO)
}

fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_database_says_so_for_a_minute_and_a_mark_as_long_as_it_is_there() {
        let root = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let installed = |now| are_installed(root.path(), now);
        assert_eq!(installed(now), Some(false));
        let directory = root.path().join("var/lib/dpkg");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("status"), "").unwrap();
        assert_eq!(installed(now), Some(true));
        assert_eq!(installed(now + 2 * AGO), Some(false));
        assert_eq!(installed(now - 2 * AGO), Some(false));
        let directory = root.path().join("var/lib/pacman");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("db.lck"), "").unwrap();
        assert_eq!(installed(now + 2 * AGO), Some(true));
    }

    #[test]
    fn who_locks_the_database_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert!(!is_locked(&path).unwrap());
        File::create(&path).unwrap();
        assert!(!is_locked(&path).unwrap());
        // A process's own lock is no obstacle to it; one of an open file is, to everybody else.
        let holder = File::options().write(true).open(&path).unwrap();
        fcntl(
            &holder,
            FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK).unwrap()),
        )
        .unwrap();
        assert!(is_locked(&path).unwrap());
        drop(holder);
        assert!(!is_locked(&path).unwrap());
    }
}
