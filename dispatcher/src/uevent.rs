//! The kernel's word that a sched_ext scheduler came or went.
//!
//! Only that something happened is taken from it; what runs is read from sysfs. A lost event costs
//! one window, after which sysfs is read anyway.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The multicast group of events that come from the kernel itself, not from udev.
const KERNEL_GROUP: u32 = 1;
/// The kernel's own limit for one event (UEVENT_BUFFER_SIZE of include/linux/kobject.h).
const EVENT_SIZE: usize = 2048;

/// A socket on which the kernel announces its objects.
pub(crate) struct Uevents(AsyncFd<OwnedFd>);

impl Uevents {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        // SAFETY: an OwnedFd stands for the same open file for as long as the AsyncFd holds it.
        Ok(Self(unsafe {
            AsyncFd::register_with_interest(socket, Interest::READABLE)
        }?))
    }

    /// Waits until a sched_ext scheduler came or went. Can be dropped and called again.
    pub(crate) async fn sched_ext_changed(&self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                return std::future::pending().await;
            };
            let mut event = [0; EVENT_SIZE];
            match ready.try_io(|socket| {
                recv(socket.as_raw_fd(), &mut event, MsgFlags::empty()).map_err(io::Error::from)
            }) {
                Ok(Ok(length)) if is_sched_ext(&event[..length]) => return,
                // Events were lost (ENOBUFS): there may have been one of ours among them.
                Ok(Err(_)) => return,
                Ok(Ok(_)) | Err(_) => {}
            }
        }
    }
}

/// An event is a list of strings that end in NUL; see lib/kobject_uevent.c.
fn is_sched_ext(event: &[u8]) -> bool {
    event
        .split(|byte| *byte == 0)
        .any(|field| field == b"SUBSYSTEM=sched_ext")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_of_sched_ext_count() {
        assert!(is_sched_ext(
            b"add@/kernel/sched_ext/root\0ACTION=add\0SUBSYSTEM=sched_ext\0"
        ));
        assert!(!is_sched_ext(
            b"add@/devices/x\0ACTION=add\0SUBSYSTEM=usb\0"
        ));
        assert!(!is_sched_ext(b""));
    }
}
