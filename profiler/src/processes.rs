//! Which processes run, as the kernel reports it: attaches the BPF programs about processes and
//! reads their records. Dropping it detaches all.
//!
//! The records say little: a number, by whom a process was forked, and what a program is called. What is known of a process is
//! read from /proc (see `tracker`), so one that ends soon after it began is never seen, but as an ancestor of others. A command line that a process rewrites is not seen until something else about it
//! changes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Instant;

use auto_ext_profiler_abi::{COMM_LEN, PROCESS_OFFSETS, ProcessRecord, map, process};
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};

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
/// leaves four records in it, 88 bytes.
const RING_SIZE: u32 = 256 << 10;
/// How many records have room there at most, each with the kernel's header.
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
        let mut loader = object::loader();
        let types = btf::kernel_types()?;
        let offsets = btf::offsets(&types, &PROCESS_OFFSETS)?;
        let tracepoints = btf::of_tracepoints(types)?;
        loader.btf(Some(&tracepoints));
        for ((global, ..), offset) in PROCESS_OFFSETS.iter().zip(&offsets) {
            loader.override_global(global, offset, true);
        }
        loader.map_max_entries(map::PROCESSES, RING_SIZE);
        let mut ebpf = object::load(&mut loader, object::PROFILER)?;
        for program in PROGRAMS {
            object::attach(&mut ebpf, program, &tracepoints).map_err(AttachError::Object)?;
        }
        drop(tracepoints);
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
    /// Never blocks, and reads no more than 512 processes. Called some time after the descriptor became readable, it need
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
                Some(Record::Changed { pid }) => self.tracker.changed(pid),
                Some(Record::Ended { pid }) => self.tracker.ended(pid),
                Some(Record::Forked { pid, parent }) => self.tracker.forked(pid, parent),
                Some(Record::Executed { pid, comm }) => self.tracker.executed(pid, comm),
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

    /// Whether processes are told with their ancestors from now on; at first they are not. When it changes, the next event
    /// has all processes there are.
    pub fn tell_ancestors(&mut self, wanted: bool) {
        self.tracker.tell_ancestors(wanted);
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

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
enum Record<'r> {
    Changed {
        pid: u32,
    },
    Ended {
        pid: u32,
    },
    Forked {
        pid: u32,
        parent: u32,
    },
    /// `comm` is up to the first NUL.
    Executed {
        pid: u32,
        comm: &'r [u8],
    },
}

/// `None` for a record that the programs do not write.
fn decode(bytes: &[u8]) -> Option<Record<'_>> {
    let (pid, bytes) = bytes.split_first_chunk()?;
    let (what, rest) = bytes.split_first_chunk()?;
    let pid = u32::from_ne_bytes(*pid);
    match u32::from_ne_bytes(*what) {
        process::CHANGED if rest.is_empty() => Some(Record::Changed { pid }),
        process::ENDED if rest.is_empty() => Some(Record::Ended { pid }),
        process::FORKED => Some(Record::Forked {
            pid,
            parent: u32::from_ne_bytes(rest.try_into().ok()?),
        }),
        process::EXECUTED if rest.len() == COMM_LEN => Some(Record::Executed {
            pid,
            comm: rest.split(|byte| *byte == 0).next()?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use auto_ext_profiler_abi::{ExecRecord, ForkRecord};

    use super::*;

    fn record(what: u32, rest: &[u8]) -> Vec<u8> {
        [&7_u32.to_ne_bytes(), &what.to_ne_bytes(), rest].concat()
    }

    #[test]
    fn a_record_says_what_happened_to_which_process() {
        let ended = record(process::ENDED, &[]);
        assert_eq!(decode(&ended), Some(Record::Ended { pid: 7 }));
        assert_eq!(size_of::<ProcessRecord>(), ended.len());
        let changed = record(process::CHANGED, &[]);
        assert_eq!(decode(&changed), Some(Record::Changed { pid: 7 }));
        let forked = record(process::FORKED, &5_u32.to_ne_bytes());
        let (pid, parent) = (7, 5);
        assert_eq!(decode(&forked), Some(Record::Forked { pid, parent }));
        assert_eq!(size_of::<ForkRecord>(), forked.len());
        for (name, comm) in [
            (b"reaper\0\0\0\0\0\0\0\0\0\0", &b"reaper"[..]),
            (b"steam\0inside\0\0\0\0", b"steam"),
            (b"sixteen-bytes-16", b"sixteen-bytes-16"),
        ] {
            let executed = record(process::EXECUTED, name);
            assert_eq!(decode(&executed), Some(Record::Executed { pid, comm }));
            assert_eq!(size_of::<ExecRecord>(), executed.len());
        }
    }

    #[test]
    fn what_the_programs_do_not_write_is_no_record() {
        for what in [process::CHANGED, process::FORKED, process::EXECUTED, 4] {
            assert_eq!(decode(&record(what, &[1, 2, 3])), None, "{what}");
        }
        assert_eq!(decode(&record(process::ENDED, &[])[..7]), None);
        assert_eq!(decode(&[]), None);
    }
}
