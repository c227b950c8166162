//! CPU time in the network softirqs. Loopback passes through them like any other device.

use auto_ext_profiler_abi::SoftirqCounters;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

#[map]
static SOFTIRQ: PerCpuArray<SoftirqCounters> = PerCpuArray::with_max_entries(1, 0);

/// Whether the tracepoint is about `NET_TX_SOFTIRQ` or `NET_RX_SOFTIRQ` of
/// include/linux/interrupt.h.
#[inline(always)]
fn is_network(context: &BtfTracePointContext) -> bool {
    let vector: u32 = context.arg(0);
    vector == 2 || vector == 3
}

#[btf_tracepoint(function = "softirq_entry")]
fn softirq_entry(context: BtfTracePointContext) -> i32 {
    if is_network(&context)
        && let Some(counters) = SOFTIRQ.get_ptr_mut(0)
    {
        // SAFETY: the slot belongs to this CPU, and softirqs do not nest.
        unsafe { (*counters).since = bpf_ktime_get_ns() };
    }
    0
}

#[btf_tracepoint(function = "softirq_exit")]
fn softirq_exit(context: BtfTracePointContext) -> i32 {
    if is_network(&context)
        && let Some(counters) = SOFTIRQ.get_ptr_mut(0)
    {
        // SAFETY: as in softirq_entry.
        let counters = unsafe { &mut *counters };
        if counters.since != 0 {
            // SAFETY: a helper without arguments.
            counters.net_ns += unsafe { bpf_ktime_get_ns() }.saturating_sub(counters.since);
            counters.net_runs += 1;
            counters.since = 0;
        }
    }
    0
}
