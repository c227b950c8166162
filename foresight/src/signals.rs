//! The signals by which a person or a service asks the scheduler to leave, taken at a point of its own choice.

use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGINT and SIGTERM, which no longer end the process from now on.
pub(crate) struct Requests(SignalFd);

impl Requests {
    /// Begins to take them. Before that they end the process as they end any other, and what it has loaded goes with it.
    pub(crate) fn take() -> Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block().context("signals cannot be blocked")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("no signalfd")?;
        Ok(Self(fd))
    }

    /// Whether one has come since the last call.
    pub(crate) fn has_come(&self) -> Result<bool> {
        let signal = self.0.read_signal().context("cannot read signals")?;
        Ok(signal.is_some())
    }

    /// Readable once one has come.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
