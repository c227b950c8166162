//! Which processes began, changed or ended, as records in a ring buffer.
//!
//! A process has a record when it is forked, when it runs another program, when its first
//! thread gets another name and when it is moved to another cgroup. It ends with its last thread,
//! which need not be the first one.
//!
//! Several records about one process in a row are normal (an exec comes with a change of name): user
//! space reads it once for them. What /proc may not tell any more when it is read is in the records: by whom a process was
//! forked, and what one is called that runs another program.

use auto_ext_profiler_abi::{ExecRecord, ForkRecord, ProcessRecord, process};
use aya_ebpf::helpers::bpf_get_current_comm;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::{Offset, TASK_PID, TASK_TGID, read};

/// The smallest size there is; user space that attaches these programs asks for more.
#[map]
static PROCESSES: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
static LOST_PROCESSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static TASK_SIGNAL: Offset = Offset::new(0);
#[unsafe(no_mangle)]
static SIGNAL_LIVE: Offset = Offset::new(0);

#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(context: BtfTracePointContext) -> i32 {
    let (parent, child): (*const u8, *const u8) = (context.arg(0), context.arg(1));
    if let Some(pid) = process_of(child) {
        // SAFETY: a tracepoint argument, with offsets from BTF.
        let parent = unsafe { read::<u32>(parent, &TASK_TGID) };
        let what = process::FORKED;
        send(ForkRecord {
            process: ProcessRecord { pid, what },
            parent,
        });
    }
    0
}

#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(context: BtfTracePointContext) -> i32 {
    // Whichever thread called exec, it is the first and only one by now.
    let task: *const u8 = context.arg(0);
    if let Some(pid) = process_of(task) {
        let what = process::EXECUTED;
        send(ExecRecord {
            process: ProcessRecord { pid, what },
            // The task itself calls exec.
            comm: bpf_get_current_comm().unwrap_or_default(),
        });
    }
    0
}

#[btf_tracepoint(function = "task_rename")]
fn task_rename(context: BtfTracePointContext) -> i32 {
    changed(context.arg(0))
}

#[btf_tracepoint(function = "cgroup_attach_task")]
fn cgroup_attach_task(context: BtfTracePointContext) -> i32 {
    changed(context.arg(2))
}

#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(context: BtfTracePointContext) -> i32 {
    let task: *const u8 = context.arg(0);
    // SAFETY: a tracepoint argument and what it points to, with offsets from BTF. The thread has
    // already been taken off the count. Two that end at once may both find it 0.
    let (pid, live) = unsafe {
        let signal: *const u8 = read(task, &TASK_SIGNAL);
        (
            read::<u32>(task, &TASK_TGID),
            read::<u32>(signal, &SIGNAL_LIVE),
        )
    };
    if live == 0 {
        let what = process::ENDED;
        send(ProcessRecord { pid, what });
    }
    0
}

/// Sends a record when `task` is the first thread of its process.
#[inline(always)]
fn changed(task: *const u8) -> i32 {
    if let Some(pid) = process_of(task) {
        let what = process::CHANGED;
        send(ProcessRecord { pid, what });
    }
    0
}

/// The process of which `task` is the first thread.
#[inline(always)]
fn process_of(task: *const u8) -> Option<u32> {
    // SAFETY: a tracepoint argument, with offsets from BTF.
    let (thread, pid) = unsafe { (read::<u32>(task, &TASK_PID), read::<u32>(task, &TASK_TGID)) };
    (thread == pid).then_some(pid)
}

#[inline(always)]
fn send<R: Copy + 'static>(record: R) {
    if PROCESSES.output::<R>(record, 0).is_err()
        && let Some(lost) = LOST_PROCESSES.get_ptr_mut(0)
    {
        // SAFETY: the slot belongs to this CPU. That it changes is enough, if two should count as one.
        unsafe { *lost += 1 };
    }
}
