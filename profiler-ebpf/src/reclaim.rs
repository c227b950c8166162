//! Time that tasks spend freeing memory before they get some: direct reclaim.
//!
//! There is no program on page faults: the kernel counts them anyway, and a program on each would
//! slow them by 5 %.

use auto_ext_profiler_abi::ReclaimCounters;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

#[map]
static RECLAIM: PerCpuArray<ReclaimCounters> = PerCpuArray::with_max_entries(1, 0);

#[btf_tracepoint(function = "mm_vmscan_direct_reclaim_begin")]
fn mm_vmscan_direct_reclaim_begin(_context: BtfTracePointContext) -> i32 {
    let Some(counters) = RECLAIM.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and a program does not interrupt itself.
    let counters = unsafe { &mut *counters };
    counters.active = counters.active.wrapping_add(1);
    // SAFETY: a helper without arguments.
    counters.task_ns = counters.task_ns.wrapping_sub(unsafe { bpf_ktime_get_ns() });
    0
}

#[btf_tracepoint(function = "mm_vmscan_direct_reclaim_end")]
fn mm_vmscan_direct_reclaim_end(_context: BtfTracePointContext) -> i32 {
    let Some(counters) = RECLAIM.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: as above; the task may have begun on another CPU, whose counters make up for it.
    let counters = unsafe { &mut *counters };
    counters.active = counters.active.wrapping_sub(1);
    // SAFETY: a helper without arguments.
    counters.task_ns = counters.task_ns.wrapping_add(unsafe { bpf_ktime_get_ns() });
    0
}
