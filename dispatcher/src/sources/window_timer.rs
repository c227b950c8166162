//! When the next window ends, by a timer of the kernel. One of tokio, whose wheel is coarse for what is far away, would
//! wake the daemon twice for each window.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The timer.
pub(crate) struct WindowTimer(AsyncFd<Timer>);

struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl WindowTimer {
    /// The first one ends at once.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = Timer(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
        // SAFETY: a Timer stands for the same open file for as long as the AsyncFd holds it.
        let this = Self(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?);
        this.end_after(Duration::ZERO)?;
        Ok(this)
    }

    /// The current one ends that long from now.
    pub(crate) fn end_after(&self, time: Duration) -> io::Result<()> {
        // Zero would mean never.
        let time = time.max(Duration::from_nanos(1));
        let once = Expiration::OneShot(time.into());
        Ok(self.0.get_ref().0.set(once, TimerSetTimeFlags::empty())?)
    }

    /// Waits until it ends, which it then has until the end of the next one is set. Can be dropped and called
    /// again.
    pub(crate) async fn ended(&self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                return std::future::pending().await;
            };
            let expired = ready.try_io(|timer| Ok(timer.get_ref().0.wait()?));
            if expired.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_window_ends_once_and_not_before_its_time() {
        let timer = WindowTimer::new().unwrap();
        timer.ended().await;
        let soon = Duration::from_millis(20);
        assert!(timeout(soon, timer.ended()).await.is_err());
        let begin = Instant::now();
        timer.end_after(Duration::from_secs(60)).unwrap();
        timer.end_after(soon).unwrap();
        timer.ended().await;
        assert!(begin.elapsed() >= soon);
        assert!(timeout(soon, timer.ended()).await.is_err());
    }
}
