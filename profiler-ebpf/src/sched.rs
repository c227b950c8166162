//! CPU time, waiting tasks and short bursts: when a CPU is looked at, and what is found there. What becomes of it is
//! `SchedCounters`' of the shared crate.
//!
//! The obvious tracepoint, `sched_switch`, is too dear: even an empty program there slows a pipe
//! between two tasks by 6 %. A CPU's time is known as exactly from `cpu_idle`, which is silent while
//! there is work. In between a look is taken with every timer, the scheduler's tick among
//! them: the run queue itself counts its tasks and switches, whichever class they belong to.

use auto_ext_profiler_abi::{ABSENT, Look, SHORT_BURST_NS, SchedCounters};
use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_get_current_task_btf, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::{Offset, TASK_PID, read, read_past};
use crate::{timers, waiting};

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
static SHORT_BURST: Global<u64> = Global::new(SHORT_BURST_NS);

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
    let look = look();
    if state == IDLE_ENDS {
        change(counters, |counters| counters.begin(&look));
    } else if counters.busy != 0 {
        let slept = has_slept(counters, &look);
        change(counters, |counters| {
            counters.end(&look, slept, SHORT_BURST.load());
        });
    }
    0
}

#[btf_tracepoint(function = "hrtimer_expire_entry")]
fn hrtimer_expire_entry(context: BtfTracePointContext) -> i32 {
    let Some(counters) = SCHED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and timers expire with interrupts disabled.
    let counters = unsafe { &mut *counters };
    let timer: *const u8 = context.arg(0);
    let mut look = look();
    timers::wakes(timer, look.now, counters);
    if look.pid == 0 {
        change(counters, |counters| counters.interrupt(look.now));
        return 0;
    }
    if counters.busy == 0 {
        // Busy since before the programs were attached.
        change(counters, |counters| counters.begin(&look));
    } else {
        look.late_ns = timers::late(timer, look.now);
        let slept = has_slept(counters, &look);
        change(counters, |counters| {
            counters.goes_on(&look, slept, SHORT_BURST.load());
        });
    }
    0
}

/// A device's interrupt comes before the CPU it finds idle says that it is not idle any more.
#[btf_tracepoint(function = "irq_handler_entry")]
fn irq_handler_entry(_context: BtfTracePointContext) -> i32 {
    let Some(counters) = SCHED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and interrupts do not nest.
    let counters = unsafe { &mut *counters };
    if counters.busy == 0 && counters.until != 0 {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        change(counters, |counters| counters.interrupt(now));
    }
    0
}

/// Has the counters changed so that who reads them meanwhile notices.
#[inline(always)]
fn change(counters: &mut SchedCounters, how: impl FnOnce(&mut SchedCounters)) {
    // SAFETY: fields of the same structure; volatile, as the one write must come before all others and one after.
    unsafe { core::ptr::write_volatile(&raw mut counters.begun, counters.begun + 1) };
    how(counters);
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(&raw mut counters.ended, counters.begun) };
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
        let pid: u32 = read(current, &TASK_PID);
        // One of them runs; while the idle task does, it is about to.
        let others = queued.saturating_sub(1);
        let background = waiting::in_background(current as u64).unwrap_or(0);
        Look {
            now: bpf_ktime_get_ns(),
            task: current as u64,
            pid: u64::from(pid),
            sleeps: read(current, &TASK_NVCSW),
            background: u64::from(background),
            waiting: match others.saturating_sub(asleep(rq)) {
                0 => 0,
                others => u64::from(waiting::in_foreground(rq, others, background)),
            },
            switches: read(rq, &RQ_NR_SWITCHES),
            late_ns: 0,
        }
    }
}

/// How many of the fair class's tasks only seem to be able to run: it keeps sleeping ones queued for a while (delayed
/// dequeue).
///
/// # Safety
/// `rq` must be a run queue.
#[inline(always)]
unsafe fn asleep(rq: *const u8) -> u32 {
    if RQ_FAIR_QUEUED.load() == ABSENT || RQ_FAIR_RUNNABLE.load() == ABSENT {
        return 0;
    }
    // SAFETY: as the caller promises, with offsets from BTF.
    let (queued, runnable): (u32, u32) =
        unsafe { (read(rq, &RQ_FAIR_QUEUED), read(rq, &RQ_FAIR_RUNNABLE)) };
    queued.saturating_sub(runnable)
}

/// Whether the task that ran at the last look has gone to sleep since then, or ended. It has not when it was
/// only interrupted, by a kernel thread for instance, or moved to another CPU. The idle task never does.
#[inline(always)]
fn has_slept(counters: &SchedCounters, look: &Look) -> bool {
    if counters.pid == 0 {
        return false;
    }
    if counters.pid == look.pid {
        return counters.sleeps != look.sleeps;
    }
    // A task that ended may have left its memory to something else.
    let pid: Option<u32> = read_past(counters.task, &TASK_PID);
    let sleeps: Option<u64> = read_past(counters.task, &TASK_NVCSW);
    pid.map(u64::from) != Some(counters.pid) || sleeps != Some(counters.sleeps)
}
