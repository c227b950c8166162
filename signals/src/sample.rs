//! One reading of everything that is measured: totals since the profiler was attached.
//!
//! Signals are made from two samples and nothing else; a trace records them.

use serde::{Deserialize, Serialize};

/// What is measured of the machine itself: when the profiler is attached, and again every minute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// CPU time of one page fault that maps a fresh page, in nanoseconds.
    pub fault_ns: f64,
    /// CPU time of one page fault that maps a fresh huge page, in nanoseconds.
    pub huge_fault_ns: f64,
    /// The size of a page, in bytes.
    #[serde(default = "usual_page")]
    pub page: usize,
    /// The size of a huge page, in bytes.
    #[serde(default = "usual_huge_page")]
    pub huge_page: usize,
}

/// On x86-64.
fn usual_page() -> usize {
    4096
}

/// On x86-64.
fn usual_huge_page() -> usize {
    2 << 20
}

impl Default for Machine {
    /// Usual values of a recent machine.
    fn default() -> Self {
        Self {
            fault_ns: 500.0,
            huge_fault_ns: 100_000.0,
            page: usual_page(),
            huge_page: usual_huge_page(),
        }
    }
}

impl Machine {
    /// CPU time in which the kernel fills or copies one byte, in nanoseconds.
    #[must_use]
    pub fn byte_ns(&self) -> f64 {
        self.huge_fault_ns / self.huge_page as f64
    }

    /// How many times longer all work takes than on a recent machine, 1 to 8. A page fault takes a quarter of a microsecond to
    /// one on a recent machine, up to four in a virtual one, which is slow in nothing else; 8 to 20 in an emulated one.
    #[must_use]
    pub fn slowness(&self) -> f64 {
        (self.fault_ns / 4000.0).clamp(1.0, 8.0)
    }
}

/// Totals at one moment, over all CPUs. `None`: not measured on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub at_ns: u64,
    /// CPUs that were online at the sample before and are at this one.
    pub cpus: u32,
    /// From `cpu_idle`, `hrtimer_expire_entry` and `irq_handler_entry`.
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

/// See `auto_ext_profiler_abi::SchedCounters`. Of each window only the CPUs count that were online at its begin and its end, and
/// none of them for more than the window's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedTotals {
    /// Nanoseconds in which a CPU was not idle.
    pub busy_ns: u64,
    /// Of these, the nanoseconds that the machine's host had taken away.
    pub stolen_ns: u64,
    /// Of the others, the nanoseconds of niced tasks and those of the idle class.
    pub background_ns: u64,
    /// Nanoseconds in which a core, with however many threads in hardware, was busy with other tasks than these; two
    /// threads of a core are taken to be busy at times that have nothing to do with each other.
    pub core_ns: u64,
    /// How many cores that was of.
    pub cores: u32,
    /// Sum over the waiting tasks that are not in the background of the nanoseconds they waited.
    pub wait_ns: u64,
    /// Sum over the CPUs of the nanoseconds in which such a task waited.
    pub contended_ns: u64,
    /// Nanoseconds in short bursts that ended in sleep.
    pub short_ns: u64,
    /// Number of those bursts.
    pub short_bursts: u64,
    /// Nanoseconds of CPU time of tasks that timers wake again and again, for little each time.
    pub timed_ns: u64,
    /// How often timers woke them.
    pub timed_wakes: u64,
}

impl Sample {
    /// What was completed until now: requests of disks and packets; `None` where one of them is not counted.
    #[must_use]
    pub fn completions(&self) -> Option<u64> {
        let requests = self.block.map(|block| block.requests)?;
        Some(requests.saturating_add(self.kernel.net_packets?))
    }
}

/// See `auto_ext_profiler_abi::BlockCounters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockTotals {
    /// Nanoseconds with a request in flight.
    pub busy_ns: u64,
    /// Completed requests.
    pub requests: u64,
    /// Completed bytes.
    pub bytes: u64,
    /// Nanoseconds with a request in flight that is not of a niced task or one of the idle class.
    pub foreground_ns: u64,
    /// Sum over those requests of the nanoseconds they were in flight.
    pub flight_ns: u64,
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
#[serde(default)]
pub struct KernelTotals {
    /// Microseconds in which some task stalled on IO (/proc/pressure/io).
    pub psi_io_us: Option<u64>,
    /// Microseconds in which some task stalled on memory (/proc/pressure/memory).
    pub psi_memory_us: Option<u64>,
    /// Page faults (pgfault in /proc/vmstat).
    pub faults: Option<u64>,
    /// Of these, as many as programs that start can be taken to have made: they fault in what they run.
    pub start_faults: Option<u64>,
    /// Likewise of `huge_faults`.
    pub start_huge_faults: Option<u64>,
    /// Pages that the kernel took back because memory ran short, for want of it anywhere (pgsteal_kswapd and pgsteal_direct in
    /// /proc/vmstat).
    pub reclaimed_pages: Option<u64>,
    /// Huge pages mapped by page faults (thp_fault_alloc in /proc/vmstat).
    pub huge_faults: Option<u64>,
    /// Page cache pages that became dirty (nr_dirtied in /proc/vmstat).
    pub dirtied_pages: Option<u64>,
    /// Bytes received and sent by the interfaces of the daemon's network namespace; those that pass several are counted
    /// once.
    pub net_bytes: Option<u64>,
    /// Packets, likewise.
    pub net_packets: Option<u64>,
    /// Microseconds of CPU time that auto-ext used, the schedulers it started included.
    pub own_us: Option<u64>,
}
