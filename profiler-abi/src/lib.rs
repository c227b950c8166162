//! What the BPF programs and their user space share: the layout of the per-CPU counters, and the
//! names by which one side finds the maps, programs and globals of the other.
//!
//! Every counter only grows, is written by its own CPU alone and therefore needs no atomics.

#![no_std]

/// A burst on a CPU that ended in sleep counts as short below this many nanoseconds on a recent
/// machine; on a slower one user space sets the global `SHORT_BURST_NS` accordingly.
///
/// A frame's worth of drawing, an audio period or the handling of an input event stays below it;
/// what computes does not go to sleep that soon.
pub const SHORT_BURST_NS: u64 = 4_000_000;

/// How often a CPU pairs its run queue clock with CLOCK_MONOTONIC, in nanoseconds. The clocks drift
/// by 500 ppm at the most (the bound of NTP's slewing), so by 50 us between two pairings.
pub const CLOCK_PAIRING_NS: u64 = 100_000_000;

/// Filled by the `sched_switch` program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedCounters {
    /// The run queue clock at the last switch; 0 until the first.
    pub clock: u64,
    /// CLOCK_MONOTONIC minus the run queue clock, wrapping.
    pub clock_offset: u64,
    /// The run queue clock when `clock_offset` was taken.
    pub clock_paired: u64,
    /// 1 while a task other than the idle task runs.
    pub busy: u64,
    /// Tasks that were waiting for this CPU after the last switch.
    pub waiting: u64,
    /// Nanoseconds in which a task ran.
    pub busy_ns: u64,
    /// Sum over the waiting tasks of the nanoseconds they waited.
    pub wait_ns: u64,
    /// Nanoseconds that user tasks ran in bursts that were short and ended in sleep.
    pub short_ns: u64,
    /// Number of those bursts.
    pub short_bursts: u64,
    /// Context switches.
    pub switches: u64,
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

/// Filled by the `page_fault_user` program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// Page faults of user tasks.
    pub faults: u64,
    /// Those of them that wrote.
    pub write_faults: u64,
}

/// Names of the maps; each is a per-CPU array of one element.
pub mod map {
    /// Of [`SchedCounters`](super::SchedCounters).
    pub const SCHED: &str = "SCHED";
    /// Of [`BlockCounters`](super::BlockCounters).
    pub const BLOCK: &str = "BLOCK";
    /// Of [`SoftirqCounters`](super::SoftirqCounters).
    pub const SOFTIRQ: &str = "SOFTIRQ";
    /// Of [`FaultCounters`](super::FaultCounters).
    pub const FAULT: &str = "FAULT";
}

/// Names of the read-only globals that hold byte offsets in the running kernel's structures, as
/// (global, structure, path of members).
pub const OFFSETS: [(&str, &str, &str); 8] = [
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_FLAGS", "task_struct", "flags"),
    ("TASK_CFS_RQ", "task_struct", "se.cfs_rq"),
    ("CFS_RQ_RQ", "cfs_rq", "rq"),
    ("RQ_CLOCK", "rq", "clock"),
    ("RQ_NR_RUNNING", "rq", "nr_running"),
    ("REQUEST_START_TIME_NS", "request", "start_time_ns"),
    ("REQUEST_DATA_LEN", "request", "__data_len"),
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
    unsafe impl aya::Pod for super::FaultCounters {}
}
