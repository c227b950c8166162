//! Page faults of user tasks. Counted, not timed: what one costs is measured once, in user space.

use auto_ext_profiler_abi::FaultCounters;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

#[map]
static FAULT: PerCpuArray<FaultCounters> = PerCpuArray::with_max_entries(1, 0);

/// `X86_PF_WRITE` of arch/x86/include/asm/trap_pf.h.
const WRITE: u64 = 0x2;

#[btf_tracepoint(function = "page_fault_user")]
fn page_fault_user(context: BtfTracePointContext) -> i32 {
    let Some(counters) = FAULT.get_ptr_mut(0) else {
        return 0;
    };
    let error_code: u64 = context.arg(2);
    // SAFETY: the slot belongs to this CPU. A task moved away between two lines can cost the
    // counters one fault.
    let counters = unsafe { &mut *counters };
    counters.faults += 1;
    counters.write_faults += (error_code & WRITE) >> 1;
    0
}
