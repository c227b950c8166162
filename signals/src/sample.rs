//! One reading of everything that is measured: totals since the profiler was attached.
//!
//! Signals are made from two samples and nothing else; a trace records them.

use serde::{Deserialize, Serialize};

/// The size of a huge page on x86-64, in bytes.
pub const HUGE_PAGE: usize = 2 << 20;

/// What was measured of the machine once, when the profiler was attached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// CPU time of one page fault that maps a fresh page, in nanoseconds.
    pub fault_ns: f64,
    /// CPU time of one page fault that maps a fresh huge page, in nanoseconds.
    pub huge_fault_ns: f64,
}

impl Machine {
    /// CPU time in which the kernel fills or copies one byte, in nanoseconds.
    #[must_use]
    pub fn byte_ns(&self) -> f64 {
        (self.huge_fault_ns - self.fault_ns).max(0.0) / HUGE_PAGE as f64
    }

    /// How many times longer the kernel's work takes than on a recent machine, 1 to 8. A page fault
    /// takes a quarter of a microsecond to one on a recent machine, 8 and more in an emulated one.
    #[must_use]
    pub fn slowness(&self) -> f64 {
        (self.fault_ns / 1000.0).clamp(1.0, 8.0)
    }
}

/// Totals at one moment, over all CPUs. `None`: not measured on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub at_ns: u64,
    /// CPUs online.
    pub cpus: u32,
    /// From `cpu_idle` and `hrtimer_expire_entry`.
    pub sched: Option<SchedTotals>,
    /// From `block_rq_complete`.
    pub block: Option<BlockTotals>,
    /// From `softirq_entry` and `softirq_exit`.
    pub softirq: Option<SoftirqTotals>,
    /// From `mm_vmscan_direct_reclaim_begin` and `_end`.
    pub reclaim: Option<ReclaimTotals>,
    /// What the kernel counts anyway.
    pub kernel: KernelTotals,
}

/// See `auto_ext_profiler_abi::SchedCounters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedTotals {
    /// Nanoseconds in which a CPU was not idle.
    pub busy_ns: u64,
    /// Sum over the waiting tasks of the nanoseconds they waited.
    pub wait_ns: u64,
    /// Nanoseconds in short bursts that ended in sleep.
    pub short_ns: u64,
    /// Number of those bursts.
    pub short_bursts: u64,
}

/// See `auto_ext_profiler_abi::BlockCounters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockTotals {
    /// Nanoseconds with a request in flight.
    pub busy_ns: u64,
    /// Completed requests.
    pub requests: u64,
    /// Completed bytes.
    pub bytes: u64,
}

/// See `auto_ext_profiler_abi::SoftirqCounters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftirqTotals {
    /// Nanoseconds in NET_RX and NET_TX.
    pub net_ns: u64,
    /// Network softirqs.
    pub net_runs: u64,
}

/// See `auto_ext_profiler_abi::ReclaimCounters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimTotals {
    /// Sum over the tasks of the nanoseconds they were in direct reclaim, those still in it included.
    pub task_ns: u64,
}

/// Counters from /proc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelTotals {
    /// Microseconds in which some task stalled on IO (/proc/pressure/io).
    pub psi_io_us: Option<u64>,
    /// Microseconds in which some task stalled on memory (/proc/pressure/memory).
    pub psi_memory_us: Option<u64>,
    /// Page faults (pgfault in /proc/vmstat).
    pub faults: Option<u64>,
    /// Huge pages mapped by page faults (thp_fault_alloc in /proc/vmstat).
    pub huge_faults: Option<u64>,
    /// Page cache pages that became dirty (nr_dirtied in /proc/vmstat).
    pub dirtied_pages: Option<u64>,
    /// Bytes received and sent by all interfaces of the daemon's network namespace.
    pub net_bytes: Option<u64>,
    /// Packets received and sent by them.
    pub net_packets: Option<u64>,
    /// Microseconds of CPU time that auto-ext used, the schedulers it started included.
    pub own_us: Option<u64>,
}
