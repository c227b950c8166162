//! CPU time, waiting tasks and short bursts.
//!
//! The obvious tracepoint, `sched_switch`, is too dear: even an empty program there slows a pipe
//! between two tasks by 6 %. A CPU's time is told as exactly by `cpu_idle`, which is silent while
//! there is work. What happens in between is looked at with every timer, the scheduler's tick among
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

/// What is to be seen on a CPU.
struct Look {
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
    let look = look();
    if state == IDLE_ENDS {
        begin(counters, &look);
        // The switch from the idle task to the next one, if it comes, ends no burst.
        counters.switches += 1;
    } else {
        if counters.busy != 0 {
            account(counters, &look, 0);
        }
        // What was not a task's was an interrupt's.
        counters.burst_ns = 0;
        counters.busy = 0;
    }
    0
}

#[btf_tracepoint(function = "hrtimer_expire_entry")]
fn hrtimer_expire_entry(_context: BtfTracePointContext) -> i32 {
    let look = look();
    if look.pid == 0 {
        return 0;
    }
    let Some(counters) = SCHED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and timers expire with interrupts disabled.
    let counters = unsafe { &mut *counters };
    if counters.busy == 0 {
        // Busy since before the programs were attached.
        begin(counters, &look);
    } else {
        account(counters, &look, u64::from(look.running).saturating_sub(1));
    }
    0
}

#[inline(always)]
fn look() -> Look {
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
        Look {
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
fn begin(counters: &mut SchedCounters, look: &Look) {
    // SAFETY: a helper without arguments.
    counters.until = unsafe { bpf_ktime_get_ns() };
    counters.busy = 1;
    remember(counters, look);
}

#[inline(always)]
fn remember(counters: &mut SchedCounters, look: &Look) {
    counters.task = look.task;
    counters.pid = look.pid;
    counters.sleeps = look.sleeps;
    counters.switches = look.switches;
}

/// Accounts for the time since the last event, in which the CPU was busy; `waiting` tasks wait now.
#[inline(always)]
fn account(counters: &mut SchedCounters, look: &Look, waiting: u64) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let elapsed = now.saturating_sub(counters.until);
    counters.until = now;
    counters.busy_ns += elapsed;
    counters.wait_ns += waiting * elapsed;
    counters.burst_ns += elapsed;
    let ended = look.switches.wrapping_sub(counters.switches) as i64;
    if ended <= 0 {
        return;
    }
    let slept = has_slept(counters, look);
    let interrupted = !slept && look.pid == counters.pid;
    if !interrupted {
        if slept && counters.burst_ns < SHORT_BURST_NS.load() * ended as u64 {
            counters.short_ns += counters.burst_ns;
            counters.short_bursts += ended as u64;
        }
        counters.burst_ns = 0;
    }
    remember(counters, look);
}

/// Whether the task that ran at the last look has gone to sleep since then, or ended. It has not when it was
/// only interrupted, by a kernel thread for instance, or moved to another CPU.
#[inline(always)]
fn has_slept(counters: &SchedCounters, look: &Look) -> bool {
    if counters.pid == 0 {
        return true;
    }
    if counters.pid == look.pid {
        return counters.sleeps != look.sleeps;
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
