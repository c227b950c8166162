//! Windows by tables, and how threads are followed by what the kernel counts of real ones.

use std::sync::mpsc;
use std::thread;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, gettid, setsid};

use super::replay::Recording;
use super::*;

const PAGE: usize = 4096;
/// So many pages are touched in one mapping.
const AT_ONCE: usize = 1024;
/// And so many in all each time.
const PAGES: usize = 20 * AT_ONCE;

/// Has so many faults, and nothing but system calls besides.
fn touch_pages() {
    for _ in 0..PAGES / AT_ONCE {
        let size = (AT_ONCE * PAGE).try_into().unwrap();
        // SAFETY: it is mapped anew, written within its size, and not used any more when it is unmapped.
        unsafe {
            let flags = MapFlags::MAP_PRIVATE;
            let read_write = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            let memory = mmap_anonymous(None, size, read_write, flags).unwrap();
            madvise(memory, size.get(), MmapAdvise::MADV_NOHUGEPAGE).unwrap();
            for page in 0..AT_ONCE {
                memory
                    .as_ptr()
                    .cast::<u8>()
                    .add(page * PAGE)
                    .write_volatile(1);
            }
            munmap(memory, size.get()).unwrap();
        }
    }
}

/// Does this in a child, and waits for its end.
fn in_child(work: fn()) {
    // SAFETY: the child does nothing but system calls, and ends without what a process does at its end.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            work();
            // SAFETY: it ends the child.
            unsafe { nix::libc::_exit(0) };
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
}

/// Does this in a thread that is counted from before it begins, and returns what was counted by its end.
fn counted(work: fn()) -> Reading {
    let (says, said) = mpsc::channel();
    let (permits, permitted) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        says.send(gettid()).unwrap();
        permitted.recv().unwrap();
        work();
    });
    let mut counters = Perf::software(10);
    let tid = said.recv().unwrap().as_raw();
    let opened = counters.open(u32::try_from(tid).unwrap());
    opened.expect("perf_event_open of a thread of one's own");
    let before = counters.read().unwrap();
    permits.send(()).unwrap();
    worker.join().unwrap();
    let now = counters.read().unwrap();
    Reading {
        cycles: now.cycles - before.cycles,
        instructions: now.instructions - before.instructions,
        enabled: now.enabled - before.enabled,
        running: now.running - before.running,
    }
}

#[track_caller]
fn assert_touched(counted: &Reading, times: usize) {
    let expected = (times * PAGES) as f64;
    let differs = (counted.instructions as f64 - expected).abs() / expected;
    assert!(differs < 0.005, "{counted:?}: {expected} pages");
    assert!(counted.cycles > 0 && counted.running == counted.enabled);
}

#[test]
fn a_thread_is_counted_itself_and_to_its_end() {
    assert_touched(&counted(touch_pages), 1);
}

#[test]
fn what_it_starts_is_counted_threads_children_and_theirs_in_a_session_of_their_own() {
    let counted = counted(|| {
        thread::spawn(touch_pages).join().unwrap();
        in_child(touch_pages);
        in_child(|| {
            setsid().unwrap();
            in_child(touch_pages);
        });
    });
    assert_touched(&counted, 3);
}

#[test]
fn a_program_that_it_runs_is_counted_on() {
    let counted = counted(|| {
        let status = std::process::Command::new("true").status().unwrap();
        assert!(status.success());
    });
    // A program that does nothing has dozens of faults, and a fork a few.
    assert!(counted.instructions > 30, "{counted:?}");
}

#[test]
fn what_cannot_be_counted_is_refused_by_its_reason() {
    let mut counters = Perf::software(1);
    assert_eq!(counters.open(u32::MAX), Err(NotCounted::Ended));
    assert_eq!(counters.open(i32::MAX as u32), Err(NotCounted::Ended));
    counters.open(0).unwrap();
    assert_eq!(counters.open(0), Err(NotCounted::TooManyThreads(1)));
    assert_eq!(counters.threads(), 1);
}

fn reading(cycles: u64, instructions: u64, enabled: u64, running: u64) -> Reading {
    Reading {
        cycles,
        instructions,
        enabled,
        running,
    }
}

#[test]
fn a_window_counts_only_if_it_was_counted() {
    let before = reading(1000, 1000, 1000, 1000);
    let after = |cycles: u64, instructions: u64, enabled: u64, running: u64| {
        let now = reading(
            1000 + cycles,
            1000 + instructions,
            1000 + enabled,
            1000 + running,
        );
        speed(Metric::Ipc, &before, &now)
    };
    assert_eq!(after(2_000_000, 3_000_000, 500, 500), Ok(1.5));
    assert_eq!(after(2_000_000, 3_000_000, 500, 100), Ok(1.5));
    assert_eq!(
        after(2_000_000, 3_000_000, 500, 99),
        Err(NoSpeed::Starved(0.198))
    );
    assert_eq!(after(999_999, 3_000_000, 500, 500), Err(NoSpeed::Idle));
    assert_eq!(after(2_000_000, 0, 500, 500), Err(NoSpeed::Stuck));
    assert_eq!(after(0, 0, 0, 0), Err(NoSpeed::Idle));
    assert_eq!(
        speed(Metric::Ipc, &reading(2, 1, 1, 1), &reading(1, 1, 1, 1)),
        Err(NoSpeed::Backwards)
    );
}

#[test]
fn what_was_written_down_is_read_group_by_group_and_ends() {
    let text = r#"{"group":"a","cycles":1,"instructions":2,"enabled":3,"running":3}
{"group":"b","cycles":5,"instructions":5,"enabled":5,"running":5}
{"group":"a","cycles":9,"instructions":8,"enabled":7,"running":6}"#;
    let mut a = Recording::parse(text).unwrap().of("a");
    a.open(1).unwrap();
    assert_eq!(a.read(), Ok(reading(1, 2, 3, 3)));
    assert_eq!(a.read(), Ok(reading(9, 8, 7, 6)));
    assert_eq!(a.read(), Err(NotCounted::Ended));
    assert_eq!(
        Recording::parse(text).unwrap().of("c").read(),
        Err(NotCounted::Ended)
    );
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let line = r#"{"group":"a","cycles":1,"instructions":2,"enabled":3,"running":3}"#;
    for wrong in [
        r#"{"group":"a"}"#,
        "",
        &line.replace("2", "-2"),
        &line.replace("cycles", "ticks"),
    ] {
        let error = Recording::parse(&format!("{line}\n{wrong}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}
