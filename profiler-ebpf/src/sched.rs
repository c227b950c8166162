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

use crate::kernel::{Offset, TASK_PID, read};

#[map]
static SCHED: PerCpuArray<SchedCounters> = PerCpuArray::with_max_entries(1, 0);

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

#[btf_tracepoint(function = "cpu_idle")]
fn cpu_idle(context: BtfTracePointContext) -> i32 {
    let Some(counters) = SCHED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and this tracepoint runs with interrupts disabled.
    let counters = unsafe { &mut *counters };
    let state: u32 = context.arg(0);
    let (_, _, switches) = current_and_queue();
    if state == IDLE_ENDS {
        // SAFETY: a helper without arguments.
        counters.until = unsafe { bpf_ktime_get_ns() };
        counters.busy = 1;
        // The switch from the idle task to the next one, if it comes, ends no burst.
        counters.switches = switches + 1;
    } else {
        if counters.busy != 0 {
            account(counters, switches, 0);
        }
        // What was not a task's was an interrupt's.
        counters.burst_ns = 0;
        counters.busy = 0;
    }
    0
}

#[btf_tracepoint(function = "hrtimer_expire_entry")]
fn hrtimer_expire_entry(_context: BtfTracePointContext) -> i32 {
    let (pid, running, switches) = current_and_queue();
    if pid == 0 {
        return 0;
    }
    let Some(counters) = SCHED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and timers expire with interrupts disabled.
    let counters = unsafe { &mut *counters };
    if counters.busy == 0 {
        // Busy since before the programs were attached.
        // SAFETY: a helper without arguments.
        counters.until = unsafe { bpf_ktime_get_ns() };
        counters.busy = 1;
        counters.switches = switches;
    } else {
        account(counters, switches, u64::from(running).saturating_sub(1));
    }
    0
}

/// The running task's number, and of its run queue the tasks that can run, the running one included,
/// and the switches.
#[inline(always)]
fn current_and_queue() -> (u32, u32, u64) {
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
        (
            read(current, &TASK_PID),
            queued.saturating_sub(asleep),
            read(rq, &RQ_NR_SWITCHES),
        )
    }
}

/// Accounts for the time since the last event, in which the CPU was busy; `waiting` tasks wait now.
#[inline(always)]
fn account(counters: &mut SchedCounters, switches: u64, waiting: u64) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let elapsed = now.saturating_sub(counters.until);
    counters.until = now;
    counters.busy_ns += elapsed;
    counters.wait_ns += waiting * elapsed;
    counters.burst_ns += elapsed;
    let ended = switches.wrapping_sub(counters.switches) as i64;
    if ended > 0 {
        // A task that leaves while others wait may have been preempted; then nothing is known of
        // how long it would have run.
        if waiting == 0 && counters.burst_ns < SHORT_BURST_NS.load() * ended as u64 {
            counters.short_ns += counters.burst_ns;
            counters.short_bursts += ended as u64;
        }
        counters.burst_ns = 0;
        counters.switches = switches;
    }
}
