//! Which processes run, as the kernel reports it: attaches the BPF programs about processes and
//! reads their records. Dropping it detaches all.
//!
//! The records hold numbers only. What is known of a process is read from /proc (see `tracker`), so one that ends soon
//! after it began is never seen. A command line that a process rewrites is not seen until something else about it
//! changes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Instant;

use auto_ext_profiler_abi::{PROCESS_OFFSETS, ProcessRecord, map};
use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};

use auto_ext_service::kernel_types::KernelTypes;

use crate::bpf_log::BpfLog;
use crate::btf;
use crate::object::{self, AttachError};
use crate::tracker::ProcessTracker;
use auto_ext_signals::ProcessEvent;

const PROGRAMS: [&str; 5] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "task_rename",
    "cgroup_attach_task",
];

/// The size of the ring buffer in bytes, a power of two and of whole pages. A short-lived process
/// leaves four records in it.
const RING_SIZE: u32 = 256 << 10;
/// How many records have room there, each with the kernel's header.
const RECORDS: usize = RING_SIZE as usize / (8 + size_of::<ProcessRecord>());

/// The attached BPF programs, and what is known of the machine's processes.
///
/// Its file descriptor becomes readable when there is something to [`read`](Self::read) after
/// there was nothing, as edge-triggered epoll reports.
pub struct ProcessWatcher {
    // Holds the programs' links.
    _ebpf: Ebpf,
    log: BpfLog,
    records: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    lost_before: u64,
    /// The last call left records unread.
    unread: bool,
    tracker: ProcessTracker,
}

impl ProcessWatcher {
    /// Loads and attaches the programs, which takes some 200 ms: most of it is reading the kernel's
    /// types.
    ///
    /// # Errors
    /// When the kernel does not take all of them.
    pub fn attach() -> Result<Self, AttachError> {
        let types = btf::kernel_types()?;
        let tracepoints = btf::of_tracepoints(&types)?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&tracepoints));
        let offsets = offsets(&types)?;
        for ((global, ..), offset) in PROCESS_OFFSETS.iter().zip(&offsets) {
            loader.override_global(global, offset, true);
        }
        loader.map_max_entries(map::PROCESSES, RING_SIZE);
        let mut ebpf = object::load(&mut loader)?;
        for program in PROGRAMS {
            object::attach(&mut ebpf, program, &tracepoints).map_err(AttachError::Object)?;
        }
        drop((types, tracepoints));
        object::give_back_memory();
        Ok(Self {
            records: object::take(&mut ebpf, map::PROCESSES)?,
            lost: object::take(&mut ebpf, map::LOST_PROCESSES)?,
            log: BpfLog::of(&mut ebpf),
            _ebpf: ebpf,
            lost_before: 0,
            unread: false,
            tracker: ProcessTracker::new(Path::new("/proc")),
        })
    }

    /// The changes since the last call. At first, and whenever records were lost, all processes there are; with many of
    /// them that takes several calls.
    ///
    /// Never blocks, and reads no more than 256 processes. Called some time after the descriptor became readable, it need
    /// not read those that have ended meanwhile.
    pub fn read(&mut self) -> Vec<ProcessEvent> {
        self.log.print();
        self.unread = true;
        for _ in 0..RECORDS {
            let Some(record) = self.records.next() else {
                self.unread = false;
                break;
            };
            match decode(&record) {
                Some(ProcessRecord { pid, ended: 0 }) => self.tracker.changed(pid),
                Some(ProcessRecord { pid, ended: _ }) => self.tracker.ended(pid),
                None => {}
            }
        }
        let lost = self.lost();
        if lost != self.lost_before {
            self.lost_before = lost;
            self.tracker.lost();
        }
        self.tracker.events(Instant::now())
    }

    /// Has [`read`](Self::read) return all processes there are once more, at most once a second.
    pub fn read_all_again(&mut self) {
        self.tracker.lost();
    }

    /// When to [`read`](Self::read) next though the descriptor does not become readable; `None`:
    /// not before it does.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.unread {
            return Some(now);
        }
        self.tracker.due(now)
    }

    /// How many records found the ring buffer full so far.
    fn lost(&self) -> u64 {
        // What cannot be read is as it was.
        self.lost
            .get(&0, 0)
            .map_or(self.lost_before, |cpus| cpus.iter().sum())
    }
}

impl AsFd for ProcessWatcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

impl AsRawFd for ProcessWatcher {
    fn as_raw_fd(&self) -> RawFd {
        self.records.as_raw_fd()
    }
}

/// The offsets in the order of [`PROCESS_OFFSETS`].
fn offsets(types: &KernelTypes) -> Result<[u64; PROCESS_OFFSETS.len()], AttachError> {
    let mut offsets = [0; PROCESS_OFFSETS.len()];
    for (slot, (_, structure, path)) in offsets.iter_mut().zip(PROCESS_OFFSETS) {
        *slot = btf::offset(types, structure, path)
            .map_err(|error| AttachError::Object(error.to_string()))?;
    }
    Ok(offsets)
}

/// `None` for a record of another size, which the programs do not write.
fn decode(bytes: &[u8]) -> Option<ProcessRecord> {
    let (pid, ended) = bytes.split_first_chunk()?;
    Some(ProcessRecord {
        pid: u32::from_ne_bytes(*pid),
        ended: u32::from_ne_bytes(ended.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_two_numbers() {
        let bytes = [7_u32.to_ne_bytes(), 1_u32.to_ne_bytes()].concat();
        assert_eq!(decode(&bytes), Some(ProcessRecord { pid: 7, ended: 1 }));
        assert_eq!(decode(&bytes[..7]), None);
        assert_eq!(decode(&[]), None);
        assert_eq!(size_of::<ProcessRecord>(), bytes.len());
    }
}
