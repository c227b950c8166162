//! Which sockets there are: those that are named, and all in directories that are.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// How many sockets of a directory are taken.
const MAX_SOCKETS: usize = 4096;

/// The sockets of these places. What is named and is no directory is one, also if it is not there yet.
pub(super) fn sockets(places: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut sockets = BTreeSet::new();
    for place in places {
        if place.is_dir() {
            sockets.extend(of_directory(place));
        } else {
            sockets.insert(place.clone());
        }
    }
    sockets
}

/// Links are not followed: somebody else may have made them.
fn of_directory(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    sockets
        .take(MAX_SOCKETS)
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_directory_stands_for_the_sockets_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("vms")).unwrap();
        let places = [at("vms"), at("one.sock")];
        assert_eq!(sockets(&places), [at("one.sock")].into());
        let _listener = UnixListener::bind(at("vms/a.sock")).unwrap();
        fs::write(at("vms/a.pid"), "7").unwrap();
        std::os::unix::fs::symlink(at("vms/a.sock"), at("vms/b.sock")).unwrap();
        assert_eq!(sockets(&places), [at("one.sock"), at("vms/a.sock")].into());
        fs::remove_file(at("vms/a.sock")).unwrap();
        assert_eq!(sockets(&places), [at("one.sock")].into());
    }
}
