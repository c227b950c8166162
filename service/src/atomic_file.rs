//! Small files that are replaced as a whole, so that whoever reads one, even after a power loss, finds the old contents
//! or the new ones, and that are read up to a limit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Everybody may read what the daemon writes.
const MODE: u32 = 0o644;

/// The first `limit` bytes of the file at `path`; empty if there is no such file.
///
/// # Errors
/// When it cannot be opened or read.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => drop(file.take(limit).read_to_end(&mut bytes)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(bytes)
}

/// Replaces the file at `path` by one with these contents, and waits until the disk has it.
///
/// # Errors
/// When that cannot be done; the old file is then still there.
pub fn replace<'a>(path: &Path, contents: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    let new = NewFile::write(path, contents)?;
    new.file.sync_all()?;
    new.put_in_place()?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// A complete file beside the one that it is to replace. Dropping it removes it, as on a full disk it only takes room.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    target: PathBuf,
    in_place: bool,
}

impl NewFile {
    /// Writes a file, called as `target` with `.new` behind it, without waiting for the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write<'a>(
        target: &Path,
        contents: impl IntoIterator<Item = &'a str>,
    ) -> io::Result<Self> {
        let path = target.with_added_extension("new");
        // It may be left from before, or be a link that somebody else made.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&path)?;
        let mut new = Self {
            file,
            path,
            target: target.to_owned(),
            in_place: false,
        };
        for text in contents {
            new.file.write_all(text.as_bytes())?;
        }
        Ok(new)
    }

    /// Replaces the target by this file.
    ///
    /// # Errors
    /// When it cannot be renamed; it is then removed.
    pub fn put_in_place(mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)?;
        self.in_place = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.in_place {
            // If this fails, the next write removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        replace(&path, ["old"]).unwrap();
        let old = File::open(&path).unwrap();
        replace(&path, ["n", "ew"]).unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "old");
        assert_eq!(read(&path, 100).unwrap(), b"new");
        assert_eq!(read(&path, 2).unwrap(), b"ne");
        drop(NewFile::write(&path, ["other"]).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(replace(&directory.path().join("missing/state.json"), [""]).is_err());
    }

    #[test]
    fn a_link_beside_it_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let precious = directory.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        symlink(&precious, directory.path().join("state.json.new")).unwrap();
        replace(&path, ["new"]).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_file_that_is_missing_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(&directory.path().join("missing"), 1).unwrap(), b"");
    }
}
