//! How a load would be told from the obvious tracepoints: on each of five of them programs that count into one
//! hash map that all CPUs share, with atomics. Two of them are on `sched_switch`.

#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(
    internal_features,
    reason = "the BPF target has no `fetch_add`; building `core` unlocks what it has instead"
)]
#![allow(
    missing_docs,
    reason = "the tracepoint and map macros generate undocumented items"
)]

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::macros::{map, tracepoint};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::TracePointContext;

#[map]
static COUNTS: HashMap<u32, u64> = HashMap::with_max_entries(1024, 0);

#[inline(always)]
fn count(key: u32) -> u32 {
    match COUNTS.get_ptr_mut(key) {
        Some(value) => {
            // SAFETY: a value of the map, aligned as the kernel aligns it, and only changed by atomics.
            unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(value, 1) };
        }
        None => {
            // A full map loses a count.
            let _ = COUNTS.insert(key, 1, 0);
        }
    }
    0
}

#[tracepoint(category = "sched", name = "sched_switch")]
fn switch(_: TracePointContext) -> u32 {
    count(0)
}

#[tracepoint(category = "sched", name = "sched_switch")]
fn switch_of_cpu(_: TracePointContext) -> u32 {
    count(1)
}

#[tracepoint(category = "sched", name = "sched_wakeup")]
fn wakeup(_: TracePointContext) -> u32 {
    count(2)
}

#[tracepoint(category = "kmem", name = "mm_page_alloc")]
fn page_alloc(_: TracePointContext) -> u32 {
    count(3)
}

#[tracepoint(category = "net", name = "net_dev_queue")]
fn net_queue(_: TracePointContext) -> u32 {
    count(4)
}

#[tracepoint(category = "block", name = "block_rq_issue")]
fn block_issue(_: TracePointContext) -> u32 {
    count(5)
}

// SAFETY: the kernel reads the licence by the name of its section.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here panics; the linker drops this, and the verifier refuses it if it does not.
    loop {}
}
