//! What a timer tells that expires: whom it wakes, and how long it was overdue.

use auto_ext_profiler_abi::{ABSENT, SchedCounters, TimerWake};
use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap};

use crate::kernel::{Offset, TASK_PID, read, read_past};
use crate::waiting::in_background;

/// The last wake-up of each task that timers wake, by its number; who is woken least often is forgotten first.
#[map]
static TIMER_WAKES: LruHashMap<u32, TimerWake> = LruHashMap::with_max_entries(4096, 0);
#[map]
static WAKES_SLEEPER: Array<u64> = Array::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static HRTIMER_FUNCTION: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static HRTIMER_EXPIRES: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static HRTIMER_IS_SOFT: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static HRTIMER_BASE: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static HRTIMER_BASE_OFFSET: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static SLEEPER_TASK: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_EXEC_RUNTIME: Offset = Offset::new(0);

/// The number of the thread of user space that measures, which sleeps for a moment after attaching. The kernel's function that
/// wakes it is the one that wakes all who sleep.
#[unsafe(no_mangle)]
static KNOWN_SLEEPER: Global<u32> = Global::new(0);

/// How late a timer may be on a CPU that nobody takes away, in nanoseconds: interrupts are off for less than that.
const LATE_NS: u64 = 1_000_000;

/// Accounts for the task that the timer wakes, if it is a sleeping task's.
#[inline(always)]
pub(crate) fn wakes(timer: *const u8, now: u64, counters: &mut SchedCounters) {
    if HRTIMER_FUNCTION.load() == ABSENT || SLEEPER_TASK.load() == ABSENT {
        return;
    }
    let Some(known) = WAKES_SLEEPER.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the timer is a tracepoint argument, with an offset from BTF; the slot is there as long as the map.
    let (function, known_function) = unsafe {
        (
            read::<u64>(timer, &HRTIMER_FUNCTION),
            core::ptr::read_volatile(known),
        )
    };
    if known_function != 0 && function != known_function {
        return;
    }
    let Some(task) = read_past::<u64>(timer as u64, &SLEEPER_TASK) else {
        return;
    };
    let Some(pid) = read_past::<u32>(task, &TASK_PID) else {
        return;
    };
    if known_function == 0 {
        if pid == KNOWN_SLEEPER.load() && pid != 0 {
            // SAFETY: as above; whoever writes writes the same.
            unsafe { core::ptr::write_volatile(known, function) };
        }
        return;
    }
    // What measures is no load; on a slow machine it would be seen.
    if pid == KNOWN_SLEEPER.load() {
        return;
    }
    let Some(runtime) = read_past::<u64>(task, &TASK_EXEC_RUNTIME) else {
        return;
    };
    let wake = TimerWake {
        at: now,
        runtime,
        fits: 0,
    };
    if let Some(before) = TIMER_WAKES.get_ptr_mut(pid) {
        // SAFETY: no other timer wakes the same task meanwhile. An entry that was given to another task costs the
        // counters one wake-up.
        let before = unsafe { &mut *before };
        *before = if in_background(task) == Some(0) {
            counters.woken(before, &wake)
        } else {
            wake
        };
    } else {
        // Without room the task is not known to be woken by timers.
        let _ = TIMER_WAKES.insert(pid, wake, 0);
    }
}

/// How long the timer was overdue, where that is longer than a CPU is late by itself.
#[inline(always)]
pub(crate) fn late(timer: *const u8, now: u64) -> u64 {
    if HRTIMER_IS_SOFT.load() == ABSENT || HRTIMER_BASE_OFFSET.load() == ABSENT {
        return 0;
    }
    // SAFETY: a tracepoint argument and what it points to, with offsets from BTF.
    let (expires, base_offset, is_soft) = unsafe {
        let base: *const u8 = read(timer, &HRTIMER_BASE);
        (
            read::<u64>(timer, &HRTIMER_EXPIRES),
            read::<u64>(base, &HRTIMER_BASE_OFFSET),
            read::<u8>(timer, &HRTIMER_IS_SOFT),
        )
    };
    // Soft timers wait for more than the CPU.
    if is_soft != 0 {
        return 0;
    }
    let late = now.saturating_sub(expires.wrapping_sub(base_offset));
    if late < LATE_NS { 0 } else { late }
}
