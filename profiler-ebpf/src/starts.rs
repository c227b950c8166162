//! How many programs start. Each faults in what it runs, which is no load of its own.

use auto_ext_profiler_abi::StartCounters;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

#[map]
static STARTS: PerCpuArray<StartCounters> = PerCpuArray::with_max_entries(1, 0);

/// Not called like its tracepoint, as the one that tells of processes is.
#[btf_tracepoint(function = "sched_process_exec")]
fn count_starts(_context: BtfTracePointContext) -> i32 {
    if let Some(counters) = STARTS.get_ptr_mut(0) {
        // SAFETY: the slot belongs to this CPU, and a program does not interrupt itself.
        unsafe { (*counters).programs += 1 };
    }
    0
}
