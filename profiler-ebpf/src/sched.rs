//! CPU time, waiting tasks and short bursts, all from `sched_switch`.
//!
//! It is the hottest tracepoint there is, so it calls no helper but a map lookup (which the verifier
//! inlines): the time is the run queue's own clock, which the scheduler has just updated, and the
//! number of waiting tasks is the run queue's own count, valid under every scheduling class.

use auto_ext_profiler_abi::{CLOCK_PAIRING_NS, SchedCounters};
use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::{Offset, read};

#[map]
static SCHED: PerCpuArray<SchedCounters> = PerCpuArray::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static TASK_PID: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_FLAGS: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_CFS_RQ: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static CFS_RQ_RQ: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static RQ_CLOCK: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static RQ_NR_RUNNING: Offset = Offset::new(0);

#[unsafe(no_mangle)]
static SHORT_BURST_NS: Global<u64> = Global::new(auto_ext_profiler_abi::SHORT_BURST_NS);

/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u32 = 0x0020_0000;
/// `TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE` of include/linux/sched.h.
const ASLEEP: u32 = 0x3;

#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(context: BtfTracePointContext) -> i32 {
    let Some(counters) = SCHED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and this tracepoint runs with interrupts disabled.
    let counters = unsafe { &mut *counters };
    let preempted: u64 = context.arg(0);
    let prev: *const u8 = context.arg(1);
    let next: *const u8 = context.arg(2);
    let prev_state: u32 = context.arg(3);

    // SAFETY: tracepoint arguments and what they point to, with offsets from BTF. A task's cfs_rq
    // leads to the run queue of its CPU whichever class it belongs to.
    let (now, running, prev_pid, prev_flags, next_pid) = unsafe {
        let cfs_rq: *const u8 = read(prev, &TASK_CFS_RQ);
        let rq: *const u8 = read(cfs_rq, &CFS_RQ_RQ);
        (
            read::<u64>(rq, &RQ_CLOCK),
            read::<u32>(rq, &RQ_NR_RUNNING),
            read::<u32>(prev, &TASK_PID),
            read::<u32>(prev, &TASK_FLAGS),
            read::<u32>(next, &TASK_PID),
        )
    };

    let elapsed = now.wrapping_sub(counters.clock);
    if counters.clock != 0 && (elapsed as i64) > 0 {
        counters.wait_ns += counters.waiting * elapsed;
        if prev_pid != 0 {
            counters.busy_ns += elapsed;
            if elapsed < SHORT_BURST_NS.load()
                && preempted & 1 == 0
                && prev_state & ASLEEP != 0
                && prev_flags & KERNEL_THREAD == 0
            {
                counters.short_ns += elapsed;
                counters.short_bursts += 1;
            }
        }
    }
    let busy = u64::from(next_pid != 0);
    counters.clock = now;
    counters.busy = busy;
    counters.waiting = u64::from(running).saturating_sub(busy);
    counters.switches += 1;
    if now.wrapping_sub(counters.clock_paired) > CLOCK_PAIRING_NS {
        // SAFETY: a helper without arguments.
        counters.clock_offset = unsafe { bpf_ktime_get_ns() }.wrapping_sub(now);
        counters.clock_paired = now;
    }
    0
}
