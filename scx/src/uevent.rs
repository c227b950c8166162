//! The kernel's events (uevents): that a sched_ext scheduler came or went, or a power supply.
//!
//! Only that something happened is taken from them; what is now is to be read from sysfs. Events can be lost,
//! so sysfs is to be read now and then without one.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The multicast group of events that come from the kernel itself, not from udev.
const KERNEL_GROUP: u32 = 1;
/// The kernel's own limit for one event (UEVENT_BUFFER_SIZE of include/linux/kobject.h).
const EVENT_SIZE: usize = 2048;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subsystem {
    /// A sched_ext scheduler was enabled or disabled.
    SchedExt,
    /// A power supply came, went or changed, such as a charger that was plugged in.
    PowerSupply,
}

/// A socket on which the kernel announces what happens to its objects.
pub struct Uevents(AsyncFd<OwnedFd>);

impl Uevents {
    /// Begins to listen. To be called in a tokio runtime. Needs no privilege.
    ///
    /// # Errors
    /// When there is no such socket to be had, as where a sandbox forbids AF_NETLINK.
    pub fn open() -> io::Result<Self> {
        let socket = open()?;
        // SAFETY: an OwnedFd stands for the same open file for as long as the AsyncFd holds it.
        Ok(Self(unsafe {
            AsyncFd::register_with_interest(socket, Interest::READABLE)
        }?))
    }

    /// Waits until something happened in one of the subsystems. Can be dropped and called again. Lost events
    /// count as [`Subsystem::SchedExt`].
    pub async fn next(&self) -> Subsystem {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                return std::future::pending().await;
            };
            let mut event = [0; EVENT_SIZE];
            match ready.try_io(|socket| {
                recv(socket.as_raw_fd(), &mut event, MsgFlags::empty()).map_err(io::Error::from)
            }) {
                Ok(Ok(length)) => {
                    if let Some(subsystem) = subsystem(&event[..length]) {
                        return subsystem;
                    }
                }
                // Events were lost (ENOBUFS): there may have been a scheduler's among them.
                Ok(Err(_)) => return Subsystem::SchedExt,
                Err(_) => {}
            }
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkKObjectUEvent,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

/// The same for a thread that may block.
pub(crate) struct BlockingUevents(Option<OwnedFd>);

impl BlockingUevents {
    /// Without a socket it only waits for the time.
    pub(crate) fn open() -> Self {
        Self(open().ok())
    }

    /// Waits until something happened anywhere in the kernel, at most for `milliseconds`; returns
    /// whether something did.
    pub(crate) fn wait(&self, milliseconds: u8) -> bool {
        let Some(socket) = &self.0 else {
            std::thread::sleep(Duration::from_millis(milliseconds.into()));
            return false;
        };
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let happened = poll(&mut fds, PollTimeout::from(milliseconds)).is_ok_and(|ready| ready > 0);
        let mut event = [0; EVENT_SIZE];
        // Only that there were some counts.
        while happened && recv(socket.as_raw_fd(), &mut event, MsgFlags::empty()).is_ok() {}
        happened
    }
}

/// An event is a list of strings that end in NUL; see lib/kobject_uevent.c.
fn subsystem(event: &[u8]) -> Option<Subsystem> {
    event
        .split(|byte| *byte == 0)
        .find_map(|field| match field {
            b"SUBSYSTEM=sched_ext" => Some(Subsystem::SchedExt),
            b"SUBSYSTEM=power_supply" => Some(Subsystem::PowerSupply),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_of_these_subsystems_count() {
        let of = |subsystem: &str| {
            format!("add@/kernel/x\0ACTION=add\0SUBSYSTEM={subsystem}\0").into_bytes()
        };
        assert_eq!(subsystem(&of("sched_ext")), Some(Subsystem::SchedExt));
        assert_eq!(subsystem(&of("power_supply")), Some(Subsystem::PowerSupply));
        assert_eq!(subsystem(&of("usb")), None);
        assert_eq!(subsystem(b""), None);
    }
}
