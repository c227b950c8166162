//! CPU time, waiting tasks and short bursts.
//!
//! The obvious tracepoint, `sched_switch`, is too dear: even an empty program there slows a pipe
//! between two tasks by 6 %. A CPU's time is known as exactly from `cpu_idle`, which is silent while
//! there is work. In between a snapshot is taken with every timer, the scheduler's tick among
//! them: the run queue itself counts its tasks and switches, whichever class they belong to. Only the
//! fair class keeps sleeping tasks queued for a while (delayed dequeue); they are taken off again.

use auto_ext_profiler_abi::SchedCounters;
use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_get_current_task_btf, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::{Offset, TASK_PID, read, read_past};

#[map]
static SCHED: PerCpuArray<SchedCounters> = PerCpuArray::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static TASK_NVCSW: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_CFS_RQ: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static CFS_RQ_RQ: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static RQ_NR_RUNNING: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static RQ_NR_SWITCHES: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static RQ_FAIR_QUEUED: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static RQ_FAIR_RUNNABLE: Offset = Offset::new(0);

#[unsafe(no_mangle)]
static SHORT_BURST_NS: Global<u64> = Global::new(auto_ext_profiler_abi::SHORT_BURST_NS);

/// `PWR_EVENT_EXIT` of include/trace/events/power.h: not an idle state, but the end of one.
const IDLE_ENDS: u32 = u32::MAX;

/// The state of a CPU at one moment.
struct Snapshot {
    /// The running task's address and number, and how often it has gone to sleep.
    task: u64,
    pid: u64,
    sleeps: u64,
    /// How many tasks can run on it, the running one included.
    running: u32,
    /// How often it switched from one task to another.
    switches: u64,
}

#[btf_tracepoint(function = "cpu_idle")]
fn cpu_idle(context: BtfTracePointContext) -> i32 {
    let Some(counters) = SCHED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and this tracepoint runs with interrupts disabled.
    let counters = unsafe { &mut *counters };
    let state: u32 = context.arg(0);
    let snapshot = snapshot();
    if state == IDLE_ENDS {
        begin(counters, &snapshot);
        // The switch from the idle task to the next one, if it comes, ends no burst.
        counters.switches += 1;
    } else {
        if counters.busy != 0 {
            account(counters, &snapshot, 0);
        }
        // What was not a task's was an interrupt's.
        counters.burst_ns = 0;
        counters.busy = 0;
    }
    0
}

#[btf_tracepoint(function = "hrtimer_expire_entry")]
fn hrtimer_expire_entry(_context: BtfTracePointContext) -> i32 {
    let snapshot = snapshot();
    if snapshot.pid == 0 {
        return 0;
    }
    let Some(counters) = SCHED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and timers expire with interrupts disabled.
    let counters = unsafe { &mut *counters };
    if counters.busy == 0 {
        // Busy since before the programs were attached.
        begin(counters, &snapshot);
    } else {
        account(
            counters,
            &snapshot,
            u64::from(snapshot.running).saturating_sub(1),
        );
    }
    0
}

#[inline(always)]
fn snapshot() -> Snapshot {
    // SAFETY: the current task and what it points to, with offsets from BTF. A task's cfs_rq leads to
    // the run queue of its CPU whichever class it belongs to.
    unsafe {
        let current: *const u8 = bpf_get_current_task_btf().cast();
        let cfs_rq: *const u8 = read(current, &TASK_CFS_RQ);
        let rq: *const u8 = read(cfs_rq, &CFS_RQ_RQ);
        let queued: u32 = read(rq, &RQ_NR_RUNNING);
        let fair_queued: u32 = read(rq, &RQ_FAIR_QUEUED);
        let fair_runnable: u32 = read(rq, &RQ_FAIR_RUNNABLE);
        let asleep = fair_queued.saturating_sub(fair_runnable);
        let pid: u32 = read(current, &TASK_PID);
        Snapshot {
            task: current as u64,
            pid: u64::from(pid),
            sleeps: read(current, &TASK_NVCSW),
            running: queued.saturating_sub(asleep),
            switches: read(rq, &RQ_NR_SWITCHES),
        }
    }
}

/// The CPU is busy from now on.
#[inline(always)]
fn begin(counters: &mut SchedCounters, snapshot: &Snapshot) {
    // SAFETY: a helper without arguments.
    counters.until = unsafe { bpf_ktime_get_ns() };
    counters.busy = 1;
    remember(counters, snapshot);
}

#[inline(always)]
fn remember(counters: &mut SchedCounters, snapshot: &Snapshot) {
    counters.task = snapshot.task;
    counters.pid = snapshot.pid;
    counters.sleeps = snapshot.sleeps;
    counters.switches = snapshot.switches;
}

/// Accounts for the time since the last event, in which the CPU was busy; `waiting` tasks wait now.
#[inline(always)]
fn account(counters: &mut SchedCounters, snapshot: &Snapshot, waiting: u64) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let elapsed = now.saturating_sub(counters.until);
    counters.until = now;
    counters.busy_ns += elapsed;
    counters.wait_ns += waiting * elapsed;
    counters.burst_ns += elapsed;
    let ended = snapshot.switches.wrapping_sub(counters.switches) as i64;
    if ended <= 0 {
        return;
    }
    let slept = has_slept(counters, snapshot);
    let interrupted = !slept && snapshot.pid == counters.pid;
    if !interrupted {
        if slept && counters.burst_ns < SHORT_BURST_NS.load() * ended as u64 {
            counters.short_ns += counters.burst_ns;
            counters.short_bursts += ended as u64;
        }
        counters.burst_ns = 0;
    }
    remember(counters, snapshot);
}

/// Whether the task that ran at the last snapshot has gone to sleep since then, or ended. It has not when it was
/// only interrupted, by a kernel thread for instance, or moved to another CPU.
#[inline(always)]
fn has_slept(counters: &SchedCounters, snapshot: &Snapshot) -> bool {
    if counters.pid == 0 {
        return true;
    }
    if counters.pid == snapshot.pid {
        return counters.sleeps != snapshot.sleeps;
    }
    // SAFETY: offsets from BTF. A task that ended may have left its memory to something else.
    let (pid, sleeps): (Option<u32>, Option<u64>) = unsafe {
        (
            read_past(counters.task, &TASK_PID),
            read_past(counters.task, &TASK_NVCSW),
        )
    };
    pid.map(u64::from) != Some(counters.pid) || sleeps != Some(counters.sleeps)
}
