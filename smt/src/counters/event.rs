//! Pairs of events as the kernel has them: perf_event_open(2) and reading what it opened. The names are the kernel's
//! (include/uapi/linux/perf_event.h).

use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::reading::{NotCounted, Reading};

const PERF_TYPE_HARDWARE: u32 = 0;
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_HW_CPU_CYCLES: u64 = 0;
const PERF_COUNT_HW_INSTRUCTIONS: u64 = 1;
const PERF_COUNT_SW_TASK_CLOCK: u64 = 1;
const PERF_COUNT_SW_PAGE_FAULTS: u64 = 2;
/// Of which PMU an event of hardware is, where cores of several kinds have one each.
const PERF_PMU_TYPE_SHIFT: u32 = 32;
const PERF_FORMAT_TOTAL_TIME_ENABLED: u64 = 1;
const PERF_FORMAT_TOTAL_TIME_RUNNING: u64 = 1 << 1;
const PERF_FORMAT_GROUP: u64 = 1 << 3;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
const INHERIT: u64 = 1 << 1;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HV: u64 = 1 << 6;
/// What reading a pair returns: how many events, two times, two counts.
const NUMBERS: usize = 5;

/// struct perf_event_attr as its first version had it (PERF_ATTR_SIZE_VER0); later fields are zero.
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

/// Which pair is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Cycles and instructions, of this PMU where there are several.
    Hardware(Option<u32>),
    /// Time and page faults.
    Software,
}

/// A pair that is counted together or not at all: cycles lead.
#[derive(Debug)]
pub(super) struct Pair {
    leader: OwnedFd,
    /// Closing it would end its counting.
    _member: OwnedFd,
}

impl Pair {
    /// Counts a thread wherever it runs, and all that it starts; 0: the one that calls.
    pub(super) fn open(kind: Kind, tid: u32) -> Result<Self, NotCounted> {
        let (kind, [leads, follows]) = match kind {
            Kind::Hardware(pmu) => {
                let pmu = u64::from(pmu.unwrap_or_default()) << PERF_PMU_TYPE_SHIFT;
                let events = [PERF_COUNT_HW_CPU_CYCLES, PERF_COUNT_HW_INSTRUCTIONS];
                (PERF_TYPE_HARDWARE, events.map(|event| pmu | event))
            }
            Kind::Software => (
                PERF_TYPE_SOFTWARE,
                [PERF_COUNT_SW_TASK_CLOCK, PERF_COUNT_SW_PAGE_FAULTS],
            ),
        };
        let leader = open(kind, leads, tid, None)?;
        let member = open(kind, follows, tid, Some(&leader))?;
        Ok(Self {
            leader,
            _member: member,
        })
    }

    /// What was counted so far.
    pub(super) fn read(&self) -> Result<Reading, NotCounted> {
        let mut bytes = [0; NUMBERS * size_of::<u64>()];
        let length = nix::unistd::read(&self.leader, &mut bytes).map_err(why)?;
        let (numbers, _) = bytes.as_chunks();
        let numbers: Vec<u64> = numbers.iter().copied().map(u64::from_ne_bytes).collect();
        match numbers[..] {
            // An event that could not be put on the PMU when the thread ended reads as nothing.
            [2, enabled, running, cycles, instructions] if length == bytes.len() => Ok(Reading {
                cycles,
                instructions,
                enabled,
                running,
            }),
            _ => Err(NotCounted::Garbled),
        }
    }
}

fn open(kind: u32, config: u64, tid: u32, leader: Option<&OwnedFd>) -> Result<OwnedFd, NotCounted> {
    let size = size_of::<Attributes>();
    let attributes = Attributes {
        kind,
        size: u32::try_from(size).expect("it has a few fields"),
        config,
        sample_period: 0,
        sample_type: 0,
        read_format: PERF_FORMAT_TOTAL_TIME_ENABLED
            | PERF_FORMAT_TOTAL_TIME_RUNNING
            | PERF_FORMAT_GROUP,
        flags: INHERIT | EXCLUDE_KERNEL | EXCLUDE_HV,
        wakeup_events: 0,
        breakpoint_type: 0,
        breakpoint_address: 0,
    };
    let tid = libc::pid_t::try_from(tid).map_err(|_| NotCounted::Ended)?;
    let (any_cpu, leader) = (-1, leader.map_or(-1, AsRawFd::as_raw_fd));
    // SAFETY: the kernel reads `size` bytes of the attributes, which outlive the call, and writes nothing.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            tid,
            any_cpu,
            leader,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    let fd = Errno::result(fd).map_err(why)?;
    let fd = i32::try_from(fd).map_err(|_| NotCounted::Garbled)?;
    // SAFETY: the kernel has just made it, for this process alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What an error of the kernel means.
fn why(error: Errno) -> NotCounted {
    match error {
        Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENXIO | Errno::ENOSYS => {
            NotCounted::Absent
        }
        Errno::EACCES | Errno::EPERM => NotCounted::Denied,
        Errno::EMFILE | Errno::ENFILE => NotCounted::TooManyFiles,
        Errno::ESRCH => NotCounted::Ended,
        other => NotCounted::Refused(other),
    }
}
