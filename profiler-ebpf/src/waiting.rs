//! Which of the tasks that wait on a run queue are in the foreground: not niced, and not of the idle class. Batch work
//! that runs only where nobody else wants to, and that waits for it, is no load.

use auto_ext_profiler_abi::{self as abi, ABSENT};

use crate::kernel::{Offset, read_past};

#[unsafe(no_mangle)]
static TASK_STATIC_PRIO: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_POLICY: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_CFS_NODE: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_SCHED_DELAYED: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static TASK_SCX_NODE: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static RQ_CFS_TASKS: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static RQ_SCX_TASKS: Offset = Offset::new(0);

/// The other classes take sleeping tasks off their lists.
static NEVER_DELAYED: Offset = Offset::new(ABSENT);

/// How many tasks of a queue are looked at, at most; those behind are taken to be like them.
const LOOKED_AT: u32 = 16;

/// What was found in lists of tasks.
#[derive(Clone, Copy, Default)]
struct Found {
    all: u32,
    background: u32,
}

/// 1 when the task at this address is niced or of the idle class, else 0; `None` when there is no memory.
#[inline(always)]
pub(crate) fn in_background(task: u64) -> Option<u32> {
    let prio: i32 = read_past(task, &TASK_STATIC_PRIO)?;
    let policy: u32 = read_past(task, &TASK_POLICY)?;
    Some(abi::in_background(prio, policy))
}

/// How many of `others`, the tasks beside the current one that can run on `rq`, are in the foreground; `background` says whether
/// the current one is not. Tasks that are in no list, realtime ones for instance, are in the foreground.
///
/// The lists change while they are walked through: a walk that goes astray ends soon, and costs the count one look.
#[inline(always)]
pub(crate) fn in_foreground(rq: *const u8, others: u32, background: u32) -> u32 {
    let mut found = Found::default();
    walk(
        rq as u64,
        &RQ_CFS_TASKS,
        &TASK_CFS_NODE,
        &TASK_SCHED_DELAYED,
        &mut found,
    );
    walk(
        rq as u64,
        &RQ_SCX_TASKS,
        &TASK_SCX_NODE,
        &NEVER_DELAYED,
        &mut found,
    );
    // The current one is in its list too.
    let in_background = found.background.saturating_sub(background);
    let all = found.all.saturating_sub(1);
    if in_background == 0 || all == 0 {
        others
    } else if all + 1 < LOOKED_AT {
        others.saturating_sub(in_background)
    } else {
        others * all.saturating_sub(in_background) / all
    }
}

/// Adds the tasks of the list whose head is at `list` of `rq`.
#[inline(always)]
fn walk(rq: u64, list: &Offset, node: &Offset, delayed: &Offset, found: &mut Found) {
    if list.load() == ABSENT || node.load() == ABSENT {
        return;
    }
    let head = rq.wrapping_add(list.load());
    let Some(mut next): Option<u64> = read_past(rq, list) else {
        return;
    };
    for _ in 0..LOOKED_AT {
        if next == head {
            return;
        }
        let task = next.wrapping_sub(node.load());
        let Some(background) = in_background(task) else {
            return;
        };
        // Those that sleep, though they are still in the list, are none.
        let runnable = if delayed.load() == ABSENT {
            1
        } else if let Some(delayed) = read_past::<u8>(task, delayed) {
            1 - u32::from(delayed & 1)
        } else {
            return;
        };
        found.all += runnable;
        found.background += background & runnable;
        // The node begins with the address of the next one.
        let Some(following): Option<u64> = read_past(task, node) else {
            return;
        };
        next = following;
    }
}
