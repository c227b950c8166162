//! The signals by which a person or a service asks something of the scheduler, taken at a point of its own choice.

use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// By SIGINT and SIGTERM.
    Leave,
    /// By SIGUSR1: to go on with the network for moves that the model file has now.
    ReadNetwork,
}

/// The signals that no longer end the process from now on.
pub(crate) struct Requests(SignalFd);

impl Requests {
    /// Begins to take them. Before that they end the process as they end any other, and what it has loaded goes with it.
    pub(crate) fn take() -> Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGUSR1);
        set.thread_block().context("signals cannot be blocked")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("no signalfd")?;
        Ok(Self(fd))
    }

    /// One that has come, if any.
    pub(crate) fn next(&self) -> Result<Option<Request>> {
        let signal = self.0.read_signal().context("cannot read signals")?;
        let number = signal.map(|signal| i32::try_from(signal.ssi_signo));
        Ok(number.map(|number| match number {
            Ok(number) if number == Signal::SIGUSR1 as i32 => Request::ReadNetwork,
            _ => Request::Leave,
        }))
    }

    /// Readable once one has come.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
