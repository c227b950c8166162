//! The kernel's side of the attach barrier: installing the filter, and what is asked and answered through its
//! listener.
//!
//! The raw ABI (linux/seccomp.h, linux/bpf.h) and what is unsafe about it are here. The structures
//! are libc's; the fourteen instructions of the filter are written out. libseccomp could generate
//! them, but has no ADDFD, cannot be used between fork and exec, and would add a C library to build
//! with and to ship; seccompiler knows no notifications. Every kernel with sched_ext (6.12 and
//! later) has all that is used here, so there are no fallbacks for older ones.

#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the kernel fit the fields that they are for"
)]

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use super::filter::{BPF, FILTER};
use crate::struct_ops::{self, Operations};

/// enum bpf_attach_type of linux/bpf.h.
const BPF_STRUCT_OPS: u32 = 44;
/// The first of `attr.link_create`, of 4 bytes each: `map_fd`, `target_fd`, `attach_type`.
const LINK_CREATE: usize = 12;

const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_WRITE)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SHRINK);

/// Whether the kernel's notifications have the form that is known here; the kernel writes its own.
pub(super) fn supported() -> nix::Result<bool> {
    let mut sizes = libc::seccomp_notif_sizes {
        seccomp_notif: 0,
        seccomp_notif_resp: 0,
        seccomp_data: 0,
    };
    let operation = libc::SECCOMP_GET_NOTIF_SIZES;
    // SAFETY: the kernel fills in this structure of constant size.
    Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, &raw mut sizes) })?;
    Ok(
        usize::from(sizes.seccomp_notif) == size_of::<libc::seccomp_notif>()
            && usize::from(sizes.seccomp_notif_resp) == size_of::<libc::seccomp_notif_resp>(),
    )
}

/// Between fork and exec: puts the filter on this process and sends the listener, or why there is
/// none, to `parent`. Nothing here allocates, takes a lock or makes one of the two calls.
pub(super) fn install(parent: BorrowedFd<'_>) -> io::Result<()> {
    let listener = match set_filter() {
        // Without CAP_SYS_ADMIN, a filter is for those who can gain no privileges by exec.
        Err(Errno::EACCES) => set_no_new_privs().and_then(|()| set_filter()),
        result => result,
    };
    send(parent, listener.as_ref().map(AsFd::as_fd))?;
    listener.map(drop).map_err(io::Error::from)
}

fn set_filter() -> nix::Result<OwnedFd> {
    let program = libc::sock_fprog {
        len: FILTER.len() as libc::c_ushort,
        filter: (&raw const FILTER).cast_mut().cast(),
    };
    // Once received, a call waits for its answer whatever signals come, so that it is not begun
    // twice. The filter guards against nobody: no need for the speculation barriers that some
    // kernels tie to filters.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
        | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program, which it does not change.
    let fd = Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program)
    })?;
    // SAFETY: the kernel has just opened this file for us. It closes on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a number, 0 or an errno, and with 0 the listener. By hand, because nix allocates.
fn send(parent: BorrowedFd<'_>, listener: Result<BorrowedFd<'_>, &Errno>) -> nix::Result<()> {
    let mut number = listener.map_or_else(|errno| (*errno as i32).to_ne_bytes(), |_| [0; 4]);
    let mut data = libc::iovec {
        iov_base: number.as_mut_ptr().cast(),
        iov_len: number.len(),
    };
    // Room for a header and one file descriptor (24 bytes), aligned for the header.
    let mut control = [0_u64; 4];
    // SAFETY: all fields are numbers or pointers that may be null.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    if let Ok(listener) = listener {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute; the first header and its data lie within
        // `control`, which is aligned for the header.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            let fd = libc::CMSG_DATA(header).cast::<RawFd>();
            fd.write_unaligned(listener.as_raw_fd());
        }
    }
    // SAFETY: the message points to what lives until the call returns.
    let sent = unsafe { libc::sendmsg(parent.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    Errno::result(sent).map(drop)
}

/// In the parent, once the child was started or was not: the listener, or the errno that the filter
/// met. EAGAIN when the child did not get that far.
pub(super) fn receive_listener(child: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let mut number = [0; 4];
    let mut data = [IoSliceMut::new(&mut number)];
    let mut control = cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(child.as_raw_fd(), &mut data, Some(&mut control), flags)?;
    let listener = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    match listener {
        // SAFETY: the kernel has just opened this file for us, and there was room for one.
        Some(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        // It was sent, but the kernel had no number for it here.
        None if number == [0; 4] => Err(Errno::EMFILE),
        None => Err(Errno::from_raw(i32::from_ne_bytes(number))),
    }
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Call,
    /// All processes with the filter are gone.
    Gone,
    /// The barrier was dropped.
    Ended,
}

/// Waits until the listener has something to say, or the other side of `ended` is closed.
pub(super) fn wait(listener: BorrowedFd<'_>, ended: BorrowedFd<'_>) -> nix::Result<Waiting> {
    let mut fds = [
        PollFd::new(listener, PollFlags::POLLIN),
        PollFd::new(ended, PollFlags::empty()),
    ];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
        }
        let said = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        let events = said(&fds[0]);
        return Ok(if !said(&fds[1]).is_empty() {
            Waiting::Ended
        } else if events.contains(PollFlags::POLLERR) {
            // A signal came while the kernel waited for its lock: it has not looked.
            continue;
        } else if events.contains(PollFlags::POLLIN) {
            Waiting::Call
        } else if events.contains(PollFlags::POLLHUP) {
            Waiting::Gone
        } else {
            continue;
        });
    }
}

/// A call of the child that waits for an answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) thread: Pid,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Open { path: u64 },
    CreateLink { attr: u64, size: u64 },
}

/// The next waiting call. ENOENT: it has vanished.
///
/// Blocks if none has come: only for `Waiting::Call`. That it then cannot block, even if the call
/// vanishes meanwhile: kernel/seccomp.c counts calls as they come, under the lock that poll takes;
/// only this here lowers the count, and a call that vanishes does not.
pub(super) fn receive(listener: BorrowedFd<'_>) -> nix::Result<Call> {
    // SAFETY: all fields are numbers. The kernel wants them to be zero.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut call)?;
    let data = call.data;
    Ok(Call {
        id: call.id,
        thread: Pid::from_raw(call.pid.cast_signed()),
        kind: if data.nr.cast_unsigned() == BPF {
            let [_, attr, size, ..] = data.args;
            Kind::CreateLink { attr, size }
        } else {
            let path = data.args[1];
            Kind::Open { path }
        },
    })
}

impl Call {
    /// Whether this opens exactly `path`.
    pub(super) fn opens(&self, path: &str) -> nix::Result<bool> {
        let Kind::Open { path: there } = self.kind else {
            return Ok(false);
        };
        let mut text = vec![0; path.len() + 1];
        let read = self.read(there, &mut text)?;
        Ok(read && text.strip_suffix(&[0]) == Some(path.as_bytes()))
    }

    /// Whether this attaches a scheduler of the whole machine. What cannot be told to be something else counts as one:
    /// it is better held up for nothing than attached too soon.
    pub(super) fn attaches_scheduler(&self) -> nix::Result<bool> {
        let Kind::CreateLink { attr, size } = self.kind else {
            return Ok(false);
        };
        let mut text = [0; LINK_CREATE];
        // The size is an unsigned int to the kernel. What is beyond it is zero.
        let whole = (size & u64::from(u32::MAX)) >= LINK_CREATE as u64;
        if !whole || !self.read(attr, &mut text)? {
            return Ok(false);
        }
        let [map, _target, attach_type] = [0, 4, 8].map(|at| {
            let bytes = [text[at], text[at + 1], text[at + 2], text[at + 3]];
            u32::from_ne_bytes(bytes)
        });
        if attach_type != BPF_STRUCT_OPS {
            return Ok(false);
        }
        let answer = struct_ops::of_thread(self.thread.as_raw(), map.cast_signed());
        Ok(!matches!(
            answer.map(|answer| answer.operations),
            Some(Operations::SubScheduler | Operations::Other)
        ))
    }

    /// Whether `into` could be filled from the caller's memory.
    ///
    /// # Errors
    /// When we may not read there at all.
    fn read(&self, address: u64, into: &mut [u8]) -> nix::Result<bool> {
        let length = into.len();
        let Ok(base) = usize::try_from(address) else {
            return Ok(false);
        };
        let from = [RemoteIoVec { base, len: length }];
        match process_vm_readv(self.thread, &mut [IoSliceMut::new(into)], &from) {
            Ok(read) => Ok(read == length),
            // Not a valid address, which the kernel will tell the caller; or the caller has gone.
            Err(Errno::EFAULT | Errno::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether the call still waits: what was read came from its caller, not from another thread with
/// its number.
pub(super) fn still_waits(listener: BorrowedFd<'_>, mut id: u64) -> bool {
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id).is_ok()
}

/// Lets the call go on as if there were no filter. ENOENT: it has vanished.
pub(super) fn proceed(listener: BorrowedFd<'_>, id: u64) -> nix::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    answer(listener, id, 0, flags)
}

/// Lets the call fail. ENOENT: it has vanished.
pub(super) fn fail(listener: BorrowedFd<'_>, id: u64, errno: Errno) -> nix::Result<()> {
    answer(listener, id, -(errno as i32), 0)
}

fn answer(listener: BorrowedFd<'_>, id: u64, error: i32, flags: u32) -> nix::Result<()> {
    let mut answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error,
        flags,
    };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer)
}

/// Answers the open with a file that reads `text`. Waits until the caller has been scheduled to
/// take it. ENOENT: it has vanished.
pub(super) fn give(listener: BorrowedFd<'_>, id: u64, text: &str) -> nix::Result<()> {
    let flags = MFdFlags::from_bits_retain(libc::MFD_CLOEXEC | libc::MFD_NOEXEC_SEAL);
    let file = File::from(memfd_create("auto-ext-barrier", flags)?);
    // Not `write`: the caller shares the position, which must stay at the start.
    file.write_all_at(text.as_bytes(), 0)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
    let mut gift = libc::seccomp_notif_addfd {
        id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: file.as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: libc::O_CLOEXEC.cast_unsigned(),
    };
    // A signal for this thread in the middle of it could let the caller go on without a file.
    let signals = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let result = ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut gift);
    signals.thread_set_mask()?;
    result
}

/// Makes an answer several times faster: caller and supervisor, who wait for each other, run in turns
/// on one CPU.
pub(super) fn wake_on_the_same_cpu(listener: BorrowedFd<'_>) -> nix::Result<()> {
    /// linux/seccomp.h
    const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: libc::c_ulong = 1;
    let flags = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;
    // SAFETY: this request takes its argument by value.
    Errno::result(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            flags,
        )
    })
    .map(drop)
}

fn ioctl<T>(fd: BorrowedFd<'_>, request: libc::Ioctl, argument: &mut T) -> nix::Result<()> {
    loop {
        // SAFETY: the request's number holds the size of its argument, with which it is called
        // here.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut *argument) };
        match Errno::result(result) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}
