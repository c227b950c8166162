//! How many processes begin, and how many programs. Each faults in what it runs and what it writes to, which is no load of its
//! own.
//!
//! The programs here are not called like their tracepoints, as those are that tell of processes.

use auto_ext_profiler_abi::StartCounters;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::{TASK_PID, TASK_TGID, read};
use crate::log::say;

#[map]
static STARTS: PerCpuArray<StartCounters> = PerCpuArray::with_max_entries(1, 0);

#[btf_tracepoint(function = "sched_process_fork")]
fn count_forks(context: BtfTracePointContext) -> i32 {
    let child: *const u8 = context.arg(1);
    // SAFETY: a tracepoint argument, with offsets from BTF.
    let (thread, pid) = unsafe {
        (
            read::<u32>(child, &TASK_PID),
            read::<u32>(child, &TASK_TGID),
        )
    };
    if thread == pid
        && let Some(counters) = STARTS.get_ptr_mut(0)
    {
        // SAFETY: the slot belongs to this CPU, and a program does not interrupt itself.
        unsafe { (*counters).forks += 1 };
    }
    0
}

#[btf_tracepoint(function = "sched_process_exec")]
fn count_programs(context: BtfTracePointContext) -> i32 {
    say!(
        &context,
        "process {} runs another program",
        aya_ebpf::EbpfContext::tgid(&context)
    );
    if let Some(counters) = STARTS.get_ptr_mut(0) {
        // SAFETY: the slot belongs to this CPU, and a program does not interrupt itself.
        unsafe { (*counters).programs += 1 };
    }
    0
}
