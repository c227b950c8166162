//! The ends of windows, and the signals by which a program is told to end.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Windows of equal length.
pub(super) struct Ticks {
    signals: SignalFd,
    interval: Duration,
    next: Instant,
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// A window ends.
    Window,
    /// The program is to end.
    End,
}

impl Ticks {
    /// Begins the first window. From now on the signals by which a program is told to end only do so here.
    pub(super) fn begin(interval: Duration) -> nix::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self {
            signals: SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?,
            interval,
            next: Instant::now() + interval,
        })
    }

    /// Waits for the end of the window, or of the program. A window that should have ended meanwhile is left out.
    pub(super) fn wait(&mut self) -> nix::Result<Tick> {
        loop {
            let left = self.next.saturating_duration_since(Instant::now());
            // Rounded up, so as not to turn round and round at the end.
            let milliseconds = u32::try_from(left.as_millis() + 1).unwrap_or(u32::MAX);
            let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(Tick::End),
                Err(error) => return Err(error),
            }
            let now = Instant::now();
            if now >= self.next {
                while self.next <= now {
                    self.next += self.interval;
                }
                return Ok(Tick::Window);
            }
        }
    }
}
