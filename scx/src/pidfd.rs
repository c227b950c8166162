//! A process by a file descriptor, which stands for the same process whoever has its number later.
//!
//! By rustix, as nix has none of these calls.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open, pidfd_send_signal,
};

/// linux/pidfd.h: the file descriptor is for a thread, not for its whole process. Since Linux 6.9.
const PIDFD_THREAD: u32 = libc::O_EXCL.cast_unsigned();

#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

impl Pidfd {
    /// The process `pid`.
    pub(crate) fn of_process(pid: i32) -> io::Result<Self> {
        Self::open(pid, PidfdFlags::empty())
    }

    /// The thread `tid`.
    pub(crate) fn of_thread(tid: i32) -> io::Result<Self> {
        Self::open(tid, PidfdFlags::from_bits_retain(PIDFD_THREAD))
    }

    fn open(pid: i32, flags: PidfdFlags) -> io::Result<Self> {
        // rustix panics at numbers that no process can have.
        let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
        let pid = pid.ok_or(io::Error::from(Errno::ESRCH))?;
        Ok(Self(pidfd_open(pid, flags)?))
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) -> io::Result<()> {
        let signal = rustix::process::Signal::from_named_raw(signal as i32)
            .ok_or(io::Error::from(Errno::EINVAL))?;
        Ok(pidfd_send_signal(&self.0, signal)?)
    }

    /// A copy of the file that `fd` is to the process or thread.
    pub(crate) fn file(&self, fd: RawFd) -> io::Result<OwnedFd> {
        if fd < 0 {
            return Err(Errno::EBADF.into());
        }
        Ok(pidfd_getfd(&self.0, fd, PidfdGetfdFlags::empty())?)
    }
}
