//! Small files that outlive the daemon: replaced as a whole, so that a power loss leaves the old one or
//! the new one, and read up to a limit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const MODE: u32 = 0o644;

/// The first `limit` bytes of the file; none if it is not there.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => drop(file.take(limit).read_to_end(&mut bytes)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(bytes)
}

/// Makes the file have these contents.
pub(crate) fn replace<'a>(
    path: &Path,
    contents: impl IntoIterator<Item = &'a str>,
) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&unfinished)?;
        for text in contents {
            file.write_all(text.as_bytes())?;
        }
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        // On a full disk, what is half written only takes room.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
