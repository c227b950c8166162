//! Time in which block requests are in flight, from `block_rq_complete` alone: the request itself
//! knows when it started.
//!
//! Each CPU adds up the union of the intervals of the requests that complete on it. Over all CPUs
//! the sum is an upper bound of the time with a request in flight, and exact where the requests
//! complete on one CPU. Requests that nobody waits for are told apart: the kernel gives each request the priority
//! of who issued it, which follows its niceness if it has no other.

use auto_ext_profiler_abi::{ABSENT, BlockCounters};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::{Offset, read, read_past};

#[map]
static BLOCK: PerCpuArray<BlockCounters> = PerCpuArray::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static REQUEST_START_TIME_NS: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static REQUEST_DATA_LEN: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static REQUEST_BIO: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static BIO_IOPRIO: Offset = Offset::new(0);

/// Where the class begins in a priority, and the classes, of include/uapi/linux/ioprio.h.
const CLASS_SHIFT: u16 = 13;
const CLASS_BEST_EFFORT: u16 = 2;
const CLASS_IDLE: u16 = 3;
/// The level of a task that is not niced; greater ones come later.
const NORMAL_LEVEL: u16 = 4;
/// The bits of the level in a priority.
const LEVEL: u16 = 7;

#[btf_tracepoint(function = "block_rq_complete")]
fn block_rq_complete(context: BtfTracePointContext) -> i32 {
    let Some(counters) = BLOCK.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU. A completion from an interrupt may come between two
    // lines of one from a task; it then costs the counters one request.
    let counters = unsafe { &mut *counters };
    let request: *const u8 = context.arg(0);
    let completed: u32 = context.arg(2);
    counters.bytes += u64::from(completed);

    // SAFETY: a tracepoint argument, with offsets from BTF.
    let (start, remaining) = unsafe {
        (
            read::<u64>(request, &REQUEST_START_TIME_NS),
            read::<u32>(request, &REQUEST_DATA_LEN),
        )
    };
    if completed < remaining {
        return 0;
    }
    counters.requests += 1;
    if start == 0 {
        // The queue's iostats are off.
        return 0;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let from = start.max(counters.covered_until);
    if now > from {
        counters.busy_ns += now - from;
        counters.covered_until = now;
    }
    if !is_background(request) {
        counters.flight_ns += now.saturating_sub(start);
        let from = start.max(counters.foreground_until);
        if now > from {
            counters.foreground_ns += now - from;
            counters.foreground_until = now;
        }
    }
    0
}

/// Whether nobody waits for the request.
#[inline(always)]
fn is_background(request: *const u8) -> bool {
    if REQUEST_BIO.load() == ABSENT || BIO_IOPRIO.load() == ABSENT {
        return false;
    }
    let priority = read_past::<u64>(request as u64, &REQUEST_BIO)
        .and_then(|bio| read_past::<u16>(bio, &BIO_IOPRIO))
        .unwrap_or(0);
    let (class, level) = (priority >> CLASS_SHIFT, priority & LEVEL);
    class == CLASS_IDLE || class == CLASS_BEST_EFFORT && level > NORMAL_LEVEL
}
