//! What the BPF programs and their user space share: the layout of the per-CPU counters and of the
//! records about processes, and the names by which one side finds the maps, programs and globals of
//! the other.
//!
//! Every counter only grows, is written by its own CPU alone and therefore needs no atomics.

#![no_std]

mod accounting;
mod background;
mod current_wait;
mod outcomes;
mod wait_scale;

pub use accounting::{Look, SHORT_BURST_NS, SchedCounters, TimerWake};
pub use background::in_background;
pub use current_wait::Standing;
pub use outcomes::{LONG_WAIT_NS, NOBODY, OutcomeCounters, SLEEPERS, Sleeper};
pub use wait_scale::{LONGEST_WAIT_NS, WAIT_BUCKETS, bucket_of, shortest_of};

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
    /// As `busy_ns`, of requests that somebody may wait for: not of a niced task, nor one of the idle class.
    pub foreground_ns: u64,
    /// As `covered_until`, for `foreground_ns`.
    pub foreground_until: u64,
    /// Sum over those requests of the nanoseconds they were in flight.
    pub flight_ns: u64,
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

/// Filled by the `count_forks` and `count_programs` programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartCounters {
    /// Processes that began.
    pub forks: u64,
    /// Programs that processes began to run.
    pub programs: u64,
}

/// What the programs about processes put into the ring buffer [`map::PROCESSES`]; a [`ForkRecord`] and an [`ExecRecord`]
/// begin in the same way.
///
/// It says which process to read, not what it is: /proc has more than fits here.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRecord {
    /// The number of the process (the kernel's tgid), outside of any PID namespace.
    pub pid: u32,
    /// What happened to it, one of [`process`].
    pub what: u32,
}

/// A process was forked. By whom is told here, as that one may be gone when /proc is read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkRecord {
    /// The new process, with [`process::FORKED`].
    pub process: ProcessRecord,
    /// The number of the process that forked it.
    pub parent: u32,
}

/// A process runs another program. What it is called is told here, as it may be gone when /proc is read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecRecord {
    /// The process, with [`process::EXECUTED`].
    pub process: ProcessRecord,
    /// Its new name, up to the first NUL.
    pub comm: [u8; COMM_LEN],
}

/// TASK_COMM_LEN of the kernel.
pub const COMM_LEN: usize = 16;

/// What happens to processes.
pub mod process {
    /// Something that rules ask about changed.
    pub const CHANGED: u32 = 0;
    /// Its last thread ended.
    pub const ENDED: u32 = 1;
    /// It began; the record is a [`ForkRecord`](super::ForkRecord).
    pub const FORKED: u32 = 2;
    /// It runs another program; the record is an [`ExecRecord`](super::ExecRecord).
    pub const EXECUTED: u32 = 3;
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
    /// Of [`StartCounters`](super::StartCounters).
    pub const STARTS: &str = "STARTS";
    /// A ring buffer of [`ProcessRecord`](super::ProcessRecord)s and the longer ones.
    pub const PROCESSES: &str = "PROCESSES";
    /// An array of one u64: the address of the kernel's function by which timers wake who sleeps; 0 until one did that was
    /// known to sleep.
    pub const WAKES_SLEEPER: &str = "WAKES_SLEEPER";
    /// How many records found it full, as u64.
    pub const LOST_PROCESSES: &str = "LOST_PROCESSES";
    /// Of [`OutcomeCounters`](super::OutcomeCounters).
    pub const OUTCOMES: &str = "OUTCOMES";
    /// An array of one u64: for how many nanoseconds the task has waited that waits longest; user space resets it.
    pub const LONGEST_WAIT: &str = "LONGEST_WAIT";
}

/// The value of a global for a member that this kernel does not have, and the programs can do without.
pub const ABSENT: u64 = u64::MAX;

/// Names of the read-only globals that hold byte offsets in the running kernel's structures, as
/// (global, structure, path of members), for the programs that fill the counters.
pub const OFFSETS: [(&str, &str, &str); 27] = [
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_TGID", "task_struct", "tgid"),
    ("TASK_NVCSW", "task_struct", "nvcsw"),
    ("TASK_STATIC_PRIO", "task_struct", "static_prio"),
    ("TASK_POLICY", "task_struct", "policy"),
    ("TASK_CFS_RQ", "task_struct", "se.cfs_rq"),
    ("TASK_EXEC_RUNTIME", "task_struct", "se.sum_exec_runtime"),
    ("TASK_CFS_NODE", "task_struct", "se.group_node"),
    ("TASK_SCHED_DELAYED", "task_struct", "se.sched_delayed"),
    ("TASK_SCX_NODE", "task_struct", "scx.runnable_node"),
    ("CFS_RQ_RQ", "cfs_rq", "rq"),
    ("RQ_NR_RUNNING", "rq", "nr_running"),
    ("RQ_NR_SWITCHES", "rq", "nr_switches"),
    ("RQ_FAIR_QUEUED", "rq", "cfs.h_nr_queued"),
    ("RQ_FAIR_RUNNABLE", "rq", "cfs.h_nr_runnable"),
    ("RQ_CFS_TASKS", "rq", "cfs_tasks"),
    ("RQ_SCX_TASKS", "rq", "scx.runnable_list"),
    ("HRTIMER_FUNCTION", "hrtimer", "function"),
    ("HRTIMER_EXPIRES", "hrtimer", "node.expires"),
    ("HRTIMER_IS_SOFT", "hrtimer", "is_soft"),
    ("HRTIMER_BASE", "hrtimer", "base"),
    ("HRTIMER_BASE_OFFSET", "hrtimer_clock_base", "offset"),
    ("SLEEPER_TASK", "hrtimer_sleeper", "task"),
    ("REQUEST_START_TIME_NS", "request", "start_time_ns"),
    ("REQUEST_DATA_LEN", "request", "__data_len"),
    ("REQUEST_BIO", "request", "bio"),
    ("BIO_IOPRIO", "bio", "bi_ioprio"),
];

/// As [`OFFSETS`], for the programs about processes.
pub const PROCESS_OFFSETS: [(&str, &str, &str); 4] = [
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_TGID", "task_struct", "tgid"),
    ("TASK_SIGNAL", "task_struct", "signal"),
    ("SIGNAL_LIVE", "signal_struct", "live"),
];

/// As [`OFFSETS`], for the programs that measure outcomes.
pub const OUTCOME_OFFSETS: [(&str, &str, &str); 5] = [
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_TGID", "task_struct", "tgid"),
    ("TASK_REAL_PARENT", "task_struct", "real_parent"),
    ("TASK_STATIC_PRIO", "task_struct", "static_prio"),
    ("TASK_POLICY", "task_struct", "policy"),
];

/// As [`OFFSETS`], for the program that looks for the longest wait.
pub const LONGEST_WAIT_OFFSETS: [(&str, &str, &str); 7] = [
    ("TASK_STATE", "task_struct", "__state"),
    ("TASK_ON_RQ", "task_struct", "on_rq"),
    ("TASK_ON_CPU", "task_struct", "on_cpu"),
    ("TASK_STATIC_PRIO", "task_struct", "static_prio"),
    ("TASK_POLICY", "task_struct", "policy"),
    ("TASK_QUEUED", "task_struct", "sched_info.last_queued"),
    ("TASK_ARRIVED", "task_struct", "sched_info.last_arrival"),
];

/// Globals of members that a kernel may lack, and that the programs can do without: their value is [`ABSENT`] then.
pub const OPTIONAL_OFFSETS: [&str; 13] = [
    // Before 6.14 the fair class counted otherwise.
    "RQ_FAIR_QUEUED",
    "RQ_FAIR_RUNNABLE",
    // Without sched_ext in it, or with its tasks kept otherwise.
    "TASK_SCX_NODE",
    "RQ_SCX_TASKS",
    "TASK_CFS_NODE",
    "TASK_SCHED_DELAYED",
    "RQ_CFS_TASKS",
    "HRTIMER_FUNCTION",
    "HRTIMER_IS_SOFT",
    "HRTIMER_BASE_OFFSET",
    "SLEEPER_TASK",
    "REQUEST_BIO",
    "BIO_IOPRIO",
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
    // SAFETY: as above.
    unsafe impl aya::Pod for super::StartCounters {}
    // SAFETY: as above, and an array of them.
    unsafe impl aya::Pod for super::OutcomeCounters {}
}
