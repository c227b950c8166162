//! A program that waits for a completion of io_uring, as many servers do with nothing to do. It uses no CPU. The kernel
//! counts a task in that wait as one that waits for IO while a request is under way.
//!
//! Written with the kernel's calls alone, as no library here has them.

use std::io::pipe;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::libc::{self, c_void};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

use super::NotPossible;

/// The numbers of linux/io_uring.h.
const OFF_SQES: libc::off_t = 0x1000_0000;
const ENTER_GETEVENTS: u32 = 1;
const OP_READ: u8 = 22;
const ENTRIES: u32 = 1;
/// The size of a request, and where its parts are.
const REQUEST: usize = 64;
const FD: usize = 4;
const OFFSET: usize = 8;
const ADDRESS: usize = 16;
const LENGTH: usize = 24;
/// `struct io_uring_params` in words, and where what is needed here is: offsets in the ring of submissions.
const PARAMETERS: usize = 30;
const SQ_TAIL: usize = 11;
const SQ_ARRAY: usize = 16;

/// Waits for a read of a pipe into which nobody writes.
pub(super) fn wait() -> anyhow::Result<()> {
    let (reader, _writer) = pipe()?;
    let mut parameters = [0_u32; PARAMETERS];
    let ring = match setup(&mut parameters) {
        Ok(ring) => ring,
        Err(error @ (Errno::ENOSYS | Errno::EPERM)) => {
            return Err(NotPossible::because(format!("io_uring: {error}")));
        }
        Err(error) => return Err(error).context("io_uring"),
    };
    let array = usize::try_from(parameters[SQ_ARRAY])?;
    let tail = usize::try_from(parameters[SQ_TAIL])?;
    let submissions = map(&ring, array + size_of::<u32>(), 0)?;
    let requests = map(&ring, REQUEST, OFF_SQES)?;
    let mut buffer = [0_u8; 1];
    let mut request = [0_u8; REQUEST];
    request[0] = OP_READ;
    request[FD..][..4].copy_from_slice(&reader.as_raw_fd().to_ne_bytes());
    // The place in the file: wherever it is, as pipes have none.
    request[OFFSET..][..8].copy_from_slice(&u64::MAX.to_ne_bytes());
    request[ADDRESS..][..8]
        .copy_from_slice(&(buffer.as_mut_ptr().expose_provenance() as u64).to_ne_bytes());
    request[LENGTH..][..4].copy_from_slice(&1_u32.to_ne_bytes());
    // SAFETY: the kernel has mapped as much as one request, the tail and an array of one number there, aligned as it has
    // said, and reads none of it before the tail has changed.
    unsafe {
        requests.cast::<[u8; REQUEST]>().write(request);
        submissions.byte_add(array).cast::<u32>().write(0);
        let tail = submissions.byte_add(tail).cast::<AtomicU32>();
        tail.as_ref().store(1, Ordering::Release);
    }
    loop {
        // SAFETY: the kernel writes into the buffer, if ever, while it lives; no signals are passed.
        let result = unsafe {
            let (wanted, nothing) = (1_u32, std::ptr::null::<c_void>());
            let ring = ring.as_raw_fd();
            let submit = ENTRIES;
            libc::syscall(
                libc::SYS_io_uring_enter,
                ring,
                submit,
                wanted,
                ENTER_GETEVENTS,
                nothing,
                0_usize,
            )
        };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            result => {
                result.context("waiting")?;
                anyhow::bail!("a read of an empty pipe has ended: {buffer:?}");
            }
        }
    }
}

fn setup(parameters: &mut [u32; PARAMETERS]) -> nix::Result<OwnedFd> {
    // SAFETY: the kernel writes 120 bytes, which is what the array has.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, parameters.as_mut_ptr()) };
    let ring = Errno::result(result)?;
    let ring = RawFd::try_from(ring).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just opened this file for us.
    Ok(unsafe { OwnedFd::from_raw_fd(ring) })
}

/// Maps a part of the ring, until the program ends.
fn map(ring: &OwnedFd, size: usize, offset: libc::off_t) -> anyhow::Result<NonNull<c_void>> {
    let size = NonZeroUsize::new(size).context("nothing to map")?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
    // SAFETY: the kernel chooses an address that nothing else has.
    unsafe { mmap(None, size, access, flags, ring.as_fd(), offset) }.context("the ring")
}
