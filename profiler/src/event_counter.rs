//! Events that the kernel or the CPUs count anyway, by perf_event_open(2), on all CPUs together.
//!
//! **Migrations** are the kernel's software event and no BPF program at `sched_migrate_task`: `/proc/PID/sched` has them of some
//! tasks alone, and the tracepoint is passed each time that a task is given another CPU, which a scheduler with one queue does to a task that is woken
//! and again when a CPU takes it. The event counts a task that runs somewhere else than it would have, once, whatever its
//! class, and costs a look at one bit of a task at each switch, and a counter where it is set.
//!
//! **Instructions** in user space are the CPUs' own: they cost nothing, and what waits for memory or is put back by a cold cache has
//! fewer. Virtual machines often have none.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{FromRawFd as _, RawFd};

use aya::util::online_cpus;
use nix::errno::Errno;
use nix::libc;

/// Of include/uapi/linux/perf_event.h: types, events, and bits of `perf_event_attr` and of its `read_format`.
const TYPE_HARDWARE: u32 = 0;
const TYPE_SOFTWARE: u32 = 1;
const HARDWARE_INSTRUCTIONS: u64 = 1;
const SOFTWARE_CPU_MIGRATIONS: u64 = 4;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
const FORMAT_TOTAL_TIMES: u64 = 0b11;
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
/// The length of `perf_event_attr` as of its first version, which every kernel takes: PERF_ATTR_SIZE_VER0.
const ATTRIBUTES: u32 = 64;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Tasks that come to another CPU than the one they ran on.
    Migrations,
    /// Instructions of programs, those of the kernel left out.
    UserInstructions,
}

/// Why something is not counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The caller may not.
    #[error("counting is not permitted: run as root (CAP_PERFMON)")]
    NotPermitted,
    /// The CPUs do not count it, as in many virtual machines, or not all of them.
    #[error("the CPUs have no counter for it")]
    NoCounter,
    /// Which CPUs are online cannot be read.
    #[error("{file}: {error}")]
    Cpus {
        /// Where that would be.
        file: &'static str,
        /// What the kernel says.
        error: io::Error,
    },
    /// The kernel refuses it otherwise.
    #[error("perf_event_open on CPU {cpu}: {error}")]
    Refused {
        /// Where.
        cpu: u32,
        /// What the kernel says.
        error: io::Error,
    },
}

/// A counter on each CPU that was online when it was opened; dropping it ends that.
#[derive(Debug)]
pub struct EventCounter {
    cpus: Vec<File>,
}

/// `struct perf_event_attr` in [`ATTRIBUTES`] bytes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    event: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    bits: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

impl EventCounter {
    /// Begins to count.
    ///
    /// # Errors
    /// When that is not permitted, or a CPU does not count it: of a part of them nothing follows for tasks that move.
    pub fn open(counted: Counted) -> Result<Self, CountError> {
        let cpus = online_cpus().map_err(|(file, error)| CountError::Cpus { file, error })?;
        let cpus: Result<_, _> = cpus.into_iter().map(|cpu| open(counted, cpu)).collect();
        Ok(Self { cpus: cpus? })
    }

    /// How many there were since it was opened; `None` when that cannot be read. Where the CPUs have fewer counters than are wanted
    /// of them, each counts for a part of the time, and this is what that makes in all of it.
    #[must_use]
    pub fn read(&self) -> Option<u64> {
        let counts = self.cpus.iter().map(|cpu| {
            let mut numbers = [[0; 8]; 3];
            let mut cpu = cpu;
            cpu.read_exact(numbers.as_flattened_mut()).ok()?;
            Some(in_all(numbers.map(u64::from_ne_bytes)))
        });
        counts.sum()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the descriptor of a file")]
fn open(counted: Counted, cpu: u32) -> Result<File, CountError> {
    let (kind, event, bits) = match counted {
        Counted::Migrations => (TYPE_SOFTWARE, SOFTWARE_CPU_MIGRATIONS, 0),
        Counted::UserInstructions => (
            TYPE_HARDWARE,
            HARDWARE_INSTRUCTIONS,
            EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR,
        ),
    };
    let attributes = Attributes {
        kind,
        size: ATTRIBUTES,
        event,
        read_format: FORMAT_TOTAL_TIMES,
        bits,
        ..Attributes::default()
    };
    let (everybody, no_group): (libc::pid_t, libc::c_int) = (-1, -1);
    // SAFETY: the attributes are as long as they say, and live until the call returns.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            everybody,
            cpu,
            no_group,
            CLOSE_ON_EXEC,
        )
    };
    match Errno::result(opened) {
        // SAFETY: the kernel has just opened it for this caller.
        Ok(file) => Ok(unsafe { File::from_raw_fd(file as RawFd) }),
        Err(Errno::EACCES | Errno::EPERM) => Err(CountError::NotPermitted),
        Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::ENOSYS) => {
            Err(CountError::NoCounter)
        }
        Err(error) => Err(CountError::Refused {
            cpu,
            error: error.into(),
        }),
    }
}

/// What was counted, had it been counted all the time.
fn in_all([count, wanted_ns, counted_ns]: [u64; 3]) -> u64 {
    if counted_ns == 0 || counted_ns >= wanted_ns {
        return count;
    }
    let count = u128::from(count) * u128::from(wanted_ns) / u128::from(counted_ns);
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn what_was_counted_for_a_part_of_the_time_is_made_whole() {
        assert_eq!(in_all([100, 10, 10]), 100);
        assert_eq!(in_all([100, 10, 4]), 250);
        assert_eq!(in_all([0, 10, 0]), 0);
        assert_eq!(in_all([u64::MAX, u64::MAX, 1]), u64::MAX);
    }

    #[test]
    fn instructions_are_counted_or_it_is_said_why_not() {
        assert_eq!(size_of::<Attributes>(), ATTRIBUTES as usize);
        match EventCounter::open(Counted::UserInstructions) {
            Ok(counter) => {
                let before = counter.read().unwrap();
                (0..1_000_000).for_each(|n| {
                    black_box(n);
                });
                let counted = counter.read().unwrap() - before;
                assert!(counted >= 1_000_000, "{counted}");
            }
            Err(error) => {
                let expected = matches!(error, CountError::NoCounter | CountError::NotPermitted);
                assert!(expected, "{error}");
            }
        }
    }
}
