//! Sets where a thread may run: sched_setaffinity(2), for more CPUs than a `cpu_set_t` has.

use nix::errno::Errno;
use nix::libc;

use auto_ext_service::cpu_list::{Cpus, MAX_CPUS};

/// What a word of a mask has.
const BITS: u32 = u64::BITS;
const WORDS: usize = (MAX_CPUS / BITS) as usize;

/// Who sets where threads may run.
pub trait Masks {
    /// Lets a thread run on these CPUs alone; `None`: on all that there are and will be.
    ///
    /// # Errors
    /// As the kernel says.
    fn set(&mut self, tid: u32, cpus: Option<&Cpus>) -> Result<(), Errno>;
}

/// The kernel.
#[derive(Clone, Copy, Debug)]
pub struct System;

/// Nobody: nothing is changed.
#[derive(Clone, Copy, Debug)]
pub struct Pretend;

impl Masks for System {
    fn set(&mut self, tid: u32, cpus: Option<&Cpus>) -> Result<(), Errno> {
        // The one that calls has the number 0 too, and is never meant.
        let tid = libc::pid_t::try_from(tid).map_err(|_| Errno::ESRCH)?;
        if tid == 0 {
            return Err(Errno::ESRCH);
        }
        let mask = mask(cpus);
        // SAFETY: the kernel reads so many bytes of the mask, which outlives the call, and ignores those that it has no CPUs for.
        let result = unsafe {
            libc::syscall(
                libc::SYS_sched_setaffinity,
                tid,
                size_of_val(&mask),
                mask.as_ptr(),
            )
        };
        Errno::result(result).map(drop)
    }
}

impl Masks for Pretend {
    fn set(&mut self, _tid: u32, _cpus: Option<&Cpus>) -> Result<(), Errno> {
        Ok(())
    }
}

/// The bits of these CPUs; all where there is no limit.
fn mask(cpus: Option<&Cpus>) -> [u64; WORDS] {
    let Some(cpus) = cpus else {
        return [u64::MAX; WORDS];
    };
    let mut mask = [0; WORDS];
    for cpu in cpus {
        if let Some(word) = mask.get_mut((cpu / BITS) as usize) {
            *word |= 1 << (cpu % BITS);
        }
    }
    mask
}
