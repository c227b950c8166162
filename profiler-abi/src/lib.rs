//! What the BPF programs and their user space share: the layout of the per-CPU counters and of the
//! records about processes, and the names by which one side finds the maps, programs and globals of
//! the other.
//!
//! Every counter only grows, is written by its own CPU alone and therefore needs no atomics.

#![no_std]

/// A burst on a CPU that ended in sleep counts as short below this many nanoseconds on a recent
/// machine; on a slower one user space sets the global `SHORT_BURST_NS` accordingly.
///
/// A frame's worth of drawing, an audio period or the handling of an input event stays below it;
/// what computes does not go to sleep that soon.
pub const SHORT_BURST_NS: u64 = 4_000_000;

/// Filled by the `cpu_idle` and `hrtimer_expire_entry` programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedCounters {
    /// CLOCK_MONOTONIC up to which the CPU's time is accounted for; 0 until its first event.
    pub until: u64,
    /// 1 while the CPU is not idle.
    pub busy: u64,
    /// How many switches from one task to another, or to idle, the run queue had counted then.
    pub switches: u64,
    /// The task that ran then: its address, its number, which is 0 for the idle task, and how often it had
    /// gone to sleep.
    pub task: u64,
    /// See `task`.
    pub pid: u64,
    /// See `task`.
    pub sleeps: u64,
    /// Busy nanoseconds since its burst began.
    pub burst_ns: u64,
    /// Nanoseconds in which the CPU was not idle.
    pub busy_ns: u64,
    /// Sum over the waiting tasks of the nanoseconds they waited.
    pub wait_ns: u64,
    /// Nanoseconds in bursts that were short and ended in sleep.
    pub short_ns: u64,
    /// Number of those bursts.
    pub short_bursts: u64,
}

/// Filled by the `block_rq_complete` program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Nanoseconds in which at least one of the requests that completed here was in flight.
    pub busy_ns: u64,
    /// CLOCK_MONOTONIC up to which `busy_ns` has counted.
    pub covered_until: u64,
    /// Completed requests.
    pub requests: u64,
    /// Completed bytes.
    pub bytes: u64,
}

/// Filled by the `softirq_entry` and `softirq_exit` programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftirqCounters {
    /// CLOCK_MONOTONIC at which the running network softirq began; 0 outside of one.
    pub since: u64,
    /// Nanoseconds in NET_RX and NET_TX.
    pub net_ns: u64,
    /// Network softirqs.
    pub net_runs: u64,
}

/// Filled by the `mm_vmscan_direct_reclaim_begin` and `_end` programs. Both wrap: only the sums over
/// all CPUs mean something, as a task may begin on one and end on another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReclaimCounters {
    /// Tasks in direct reclaim.
    pub active: u64,
    /// CLOCK_MONOTONIC of every end minus that of every begin: with now times `active` added, the
    /// nanoseconds that tasks were in direct reclaim.
    pub task_ns: u64,
}

/// What the programs about processes put into the ring buffer [`map::PROCESSES`].
///
/// It says which process to read, not what it is: /proc has more than fits here.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRecord {
    /// The number of the process (the kernel's tgid), outside of any PID namespace.
    pub pid: u32,
    /// 1 when its last thread ended; 0 when it began, or something that rules ask about changed.
    pub ended: u32,
}

/// Names of the maps; but for [`PROCESSES`](map::PROCESSES), each is a per-CPU array of one element.
pub mod map {
    /// Of [`SchedCounters`](super::SchedCounters).
    pub const SCHED: &str = "SCHED";
    /// Of [`BlockCounters`](super::BlockCounters).
    pub const BLOCK: &str = "BLOCK";
    /// Of [`SoftirqCounters`](super::SoftirqCounters).
    pub const SOFTIRQ: &str = "SOFTIRQ";
    /// Of [`ReclaimCounters`](super::ReclaimCounters).
    pub const RECLAIM: &str = "RECLAIM";
    /// A ring buffer of [`ProcessRecord`](super::ProcessRecord).
    pub const PROCESSES: &str = "PROCESSES";
    /// How many records found it full, as u64.
    pub const LOST_PROCESSES: &str = "LOST_PROCESSES";
}

/// Names of the read-only globals that hold byte offsets in the running kernel's structures, as
/// (global, structure, path of members), for the programs that fill the counters.
pub const OFFSETS: [(&str, &str, &str); 10] = [
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_NVCSW", "task_struct", "nvcsw"),
    ("TASK_CFS_RQ", "task_struct", "se.cfs_rq"),
    ("CFS_RQ_RQ", "cfs_rq", "rq"),
    ("RQ_NR_RUNNING", "rq", "nr_running"),
    ("RQ_NR_SWITCHES", "rq", "nr_switches"),
    ("RQ_FAIR_QUEUED", "rq", "cfs.h_nr_queued"),
    ("RQ_FAIR_RUNNABLE", "rq", "cfs.h_nr_runnable"),
    ("REQUEST_START_TIME_NS", "request", "start_time_ns"),
    ("REQUEST_DATA_LEN", "request", "__data_len"),
];

/// As [`OFFSETS`], for the programs about processes.
pub const PROCESS_OFFSETS: [(&str, &str, &str); 4] = [
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_TGID", "task_struct", "tgid"),
    ("TASK_SIGNAL", "task_struct", "signal"),
    ("SIGNAL_LIVE", "signal_struct", "live"),
];

/// Members that kernels before 6.14 do not have, with the member that stands for them there: the
/// difference of the two is then 0.
pub const OPTIONAL_OFFSETS: [(&str, &str); 2] = [
    ("cfs.h_nr_queued", "nr_running"),
    ("cfs.h_nr_runnable", "nr_running"),
];

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), only u64 fields, so no padding and every bit pattern is valid.
    unsafe impl aya::Pod for super::SchedCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::BlockCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SoftirqCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ReclaimCounters {}
}
