//! Listening on a Unix socket, and removing it again.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::net::UnixListener;

/// Everybody may read metrics, as everything else that the daemon publishes.
const SOCKET_MODE: u32 = 0o666;

/// The file of a socket, which is removed when this is dropped unless it was replaced.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Its device and inode.
    id: (u64, u64),
}

/// Makes a socket at `path` and listens on it.
///
/// # Errors
/// When another program listens there, when there is something that is no socket, or when others can write into the
/// directory.
pub(super) fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_abandoned(path)?;
    safe_directory(path)?;
    let listener = UnixListener::bind(path)?;
    let made = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        id: (made.dev(), made.ino()),
    };
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok((listener, file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Ok(there) = fs::symlink_metadata(&self.path)
            && (there.dev(), there.ino()) == self.id
        {
            // Somebody may remove it at the same moment.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Fails where somebody else could replace what was just made.
fn safe_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    let mode = fs::metadata(directory)?.permissions().mode();
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others can write into its directory",
        ));
    }
    Ok(())
}

/// Removes a socket that nobody listens on any more, and nothing else.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something that is not a socket",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let asking = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(asking.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path),
        // It was removed meanwhile.
        Err(Errno::ENOENT) => Ok(()),
        // Somebody listens: its queue is full, or it is no socket of streams.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another program listens there",
        )),
        Err(error) => Err(io::Error::other(format!(
            "it is not known whether another program listens there: {error}"
        ))),
    }
}
