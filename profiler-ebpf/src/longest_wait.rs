//! Which task has waited longest for a CPU by now, an object of its own: a program that the kernel runs once for each task when
//! somebody reads its iterator, and at no event. It costs nothing but while it is read.
//!
//! A wait that has not ended is in no total of waits, however long it is: this is how starvation is seen before the
//! kernel's watchdog sees it. Since when a task waits is `sched_info.last_queued`, which the kernel keeps for every scheduling class,
//! and for tasks that were preempted too. Where a task is moved to another queue it begins anew: waits are longer rather than
//! shorter than what is seen. But the kernel's own class, which keeps some sleeping tasks queued for a while, may leave the time of a move
//! to one of them; that is only seen between its next wake-up and the CPU that it gets then. What counts is `Standing`'s of the shared crate.

#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the map macro generates undocumented items")]

#[expect(dead_code, reason = "this program only reads what is there")]
mod kernel;
mod object;

use auto_ext_profiler_abi::Standing;
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;

use crate::kernel::{Offset, read};

#[map]
static LONGEST_WAIT: Array<u64> = Array::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static TASK_STATE: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_ON_RQ: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_ON_CPU: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_STATIC_PRIO: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_POLICY: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_QUEUED: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_ARRIVED: Offset = Offset::new(0);

/// What the kernel hands to the program: `struct bpf_iter__task`, each member of which has eight bytes.
#[repr(C)]
struct Context {
    _meta: *const u8,
    /// Null behind the last one.
    task: *const u8,
}

// There is no macro for iterators.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn longest_wait(context: *const Context) -> i32 {
    // SAFETY: the kernel hands over such a context.
    let task = unsafe { core::ptr::read_volatile(&raw const (*context).task) };
    let Some(longest) = LONGEST_WAIT.get_ptr_mut(0) else {
        return 0;
    };
    if task.is_null() {
        return 0;
    }
    // SAFETY: tasks that the kernel holds, with offsets from BTF. Whoever reads the iterator came to its CPU a moment ago: by the clock
    // of run queues, which is no other helper's, that is now.
    let (standing, now) = unsafe {
        let reader = bpf_get_current_task_btf() as *const u8;
        let standing = Standing {
            state: read(task, &TASK_STATE),
            // Their first byte says it all, and they have no others on some kernels.
            on_rq: u32::from(read::<u8>(task, &TASK_ON_RQ)),
            on_cpu: u32::from(read::<u8>(task, &TASK_ON_CPU)),
            static_prio: read(task, &TASK_STATIC_PRIO),
            policy: read(task, &TASK_POLICY),
            queued_at: read(task, &TASK_QUEUED),
        };
        (standing, read::<u64>(reader, &TASK_ARRIVED))
    };
    let waited = standing.waited(now);
    // SAFETY: the slot is there as long as the map, and one reads the iterator at a time.
    unsafe {
        if waited > *longest {
            *longest = waited;
        }
    }
    0
}
