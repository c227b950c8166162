//! What schedulers make of tasks that sleep, an object of its own: the programs at `sched_waking` and `sched_switch`, which are
//! attached only while somebody measures outcomes, as every switch of every task feels them.
//!
//! A wait begins at `sched_waking`, which the waker passes whichever class the task belongs to. `sched_wakeup` comes
//! later, on whichever CPU completes the wake-up: for a task on an idle CPU after an interrupt there with one class and before it with
//! another, which would be a difference between schedulers that no task feels.
//!
//! What becomes of an event is `Sleeper`'s and `OutcomeCounters`' of the shared crate.

#![no_std]
#![no_main]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the tracepoint macro hands the context over by value"
)]
#![allow(
    missing_docs,
    reason = "the tracepoint and map macros generate undocumented items"
)]

#[expect(dead_code, reason = "these programs only read what is there")]
mod kernel;
mod object;

use auto_ext_profiler_abi::{NOBODY, OutcomeCounters, SLEEPERS, Sleeper, in_background};
use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::{Offset, TASK_PID, TASK_TGID, read};

#[map]
static OUTCOMES: PerCpuArray<OutcomeCounters> = PerCpuArray::with_max_entries(1, 0);
#[map]
static TASKS: Array<Sleeper> = Array::with_max_entries(SLEEPERS, 0);

#[unsafe(no_mangle)]
static TASK_REAL_PARENT: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_STATIC_PRIO: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_POLICY: Offset = Offset::new(0);

/// The process that measures, another that outcomes are not about either, and the one whose children they are not about; no
/// process has the number [`NOBODY`].
#[unsafe(no_mangle)]
static OWN_PROCESS: Global<u32> = Global::new(NOBODY);
#[unsafe(no_mangle)]
static OTHER_PROCESS: Global<u32> = Global::new(NOBODY);
#[unsafe(no_mangle)]
static PARENT: Global<u32> = Global::new(NOBODY);

/// `TASK_DEAD` of include/linux/sched.h.
const TASK_DEAD: u32 = 0x80;

#[btf_tracepoint(function = "sched_waking")]
fn sched_waking(context: BtfTracePointContext) -> i32 {
    let task: *const u8 = context.arg(0);
    let pid = pid_of(task);
    if let Some(sleeper) = sleeper(pid) {
        sleeper.is_woken(u64::from(pid), now());
    }
    0
}

#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(context: BtfTracePointContext) -> i32 {
    let Some(counters) = OUTCOMES.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and a CPU switches tasks with interrupts disabled.
    let counters = unsafe { &mut *counters };
    let preempt: bool = context.arg::<u64>(0) & 1 != 0;
    let (leaves, comes): (*const u8, *const u8) = (context.arg(1), context.arg(2));
    let state: u32 = context.arg(3);
    let now = now();
    let ran_ns = counters.switches(now);

    let pid = pid_of(leaves);
    if pid != 0
        && let Some(sleeper) = sleeper(pid)
    {
        let number = u64::from(pid);
        // Who is preempted on the way to sleep goes on first.
        if preempt || state == 0 {
            sleeper.is_preempted(number, ran_ns);
        } else if state & TASK_DEAD != 0 {
            sleeper.ends(number);
        } else {
            sleeper.sleeps(counters, number, now, ran_ns, may_count(leaves));
        }
    }
    let pid = pid_of(comes);
    if pid != 0
        && let Some(sleeper) = sleeper(pid)
    {
        sleeper.runs(counters, u64::from(pid), now);
    }
    0
}

/// Whether outcomes are about this task: not in the background, and none that is left out.
#[inline(always)]
fn may_count(task: *const u8) -> bool {
    // SAFETY: a tracepoint argument and what it points to, with offsets from BTF.
    let (prio, policy, process, parent) = unsafe {
        let parent: *const u8 = read(task, &TASK_REAL_PARENT);
        (
            read::<i32>(task, &TASK_STATIC_PRIO),
            read::<u32>(task, &TASK_POLICY),
            read::<u32>(task, &TASK_TGID),
            read::<u32>(parent, &TASK_TGID),
        )
    };
    let left_out =
        process == OWN_PROCESS.load() || process == OTHER_PROCESS.load() || parent == PARENT.load();
    in_background(prio, policy) == 0 && !left_out
}

#[inline(always)]
fn pid_of(task: *const u8) -> u32 {
    // SAFETY: a tracepoint argument, with an offset from BTF.
    unsafe { read(task, &TASK_PID) }
}

/// The place of a task.
#[inline(always)]
fn sleeper(pid: u32) -> Option<&'static mut Sleeper> {
    let place = TASKS.get_ptr_mut(pid % SLEEPERS)?;
    // SAFETY: the slot is there as long as the map. Another CPU that wakes the task writes `woken_at` alone; two tasks with one place
    // may take it from each other, which costs the counters a wait.
    Some(unsafe { &mut *place })
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}
