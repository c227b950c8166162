//! Looks for core scheduling cookies (PR_SCHED_CORE), beside which no scheduler is to be loaded: on a machine with SMT any can
//! hang it then.
//!
//! Every thread is asked, as programs that run virtual machines give cookies to some of theirs alone. Where there can be no
//! cookies, or they matter to nobody, one call says so.

use std::fs;
use std::path::Path;

use auto_ext_core::CoreScheduling;
use auto_ext_service::sanitize::sanitize;
use rustix::io::Errno;
use rustix::process::{Pid, getpid};
use rustix::thread::{CoreSchedulingScope, core_scheduling_cookie};

/// Looks at all threads that there are. It takes some milliseconds on a machine with SMT.
///
/// Needs CAP_SYS_PTRACE to ask threads of others.
#[must_use]
pub fn look() -> CoreScheduling {
    let cookie = |thread| core_scheduling_cookie(thread, CoreSchedulingScope::Thread);
    // The kernel has no core scheduling, or no core has two hardware threads.
    if let Err(Errno::INVAL | Errno::NODEV) = cookie(getpid()) {
        return CoreScheduling::Unused;
    }
    look_at(Path::new("/proc"), cookie)
}

/// Asks for the cookie of each thread that is below `proc`.
fn look_at(proc: &Path, cookie: impl Fn(Pid) -> Result<u64, Errno>) -> CoreScheduling {
    let processes = match numbers(proc) {
        Ok(processes) => processes,
        Err(error) => {
            return CoreScheduling::Unknown(format!("{} cannot be read: {error}", proc.display()));
        }
    };
    let (mut first, mut others, mut not_asked) = (None, 0_u32, None);
    for process in processes {
        match of_process(proc, process, &cookie) {
            Ok(false) => {}
            Ok(true) if first.is_none() => first = Some(process),
            Ok(true) => others += 1,
            Err(error) => not_asked = not_asked.or(Some((process, error))),
        }
    }
    match (first, not_asked) {
        (Some(first), _) => {
            let others = match others {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            CoreScheduling::Used(format!("{}{others}", shown(proc, first)))
        }
        (None, Some((process, error))) => {
            CoreScheduling::Unknown(format!("{} cannot be asked: {error}", shown(proc, process)))
        }
        (None, None) => CoreScheduling::Unused,
    }
}

/// Whether a thread of a process has a cookie. What ends meanwhile has none.
fn of_process(
    proc: &Path,
    process: Pid,
    cookie: impl Fn(Pid) -> Result<u64, Errno>,
) -> Result<bool, Errno> {
    let threads = proc.join(format!("{}/task", process.as_raw_pid()));
    let Ok(threads) = numbers(&threads) else {
        return Ok(false);
    };
    for thread in threads {
        match cookie(thread) {
            Ok(0) | Err(Errno::SRCH) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// The entries of a directory of /proc that are numbers of processes or threads.
fn numbers(directory: &Path) -> std::io::Result<impl Iterator<Item = Pid>> {
    let entries = fs::read_dir(directory)?;
    Ok(entries.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        Pid::from_raw(name.to_str()?.parse().ok()?)
    }))
}

/// What people call a process.
fn shown(proc: &Path, process: Pid) -> String {
    let process = process.as_raw_pid();
    let name = fs::read_to_string(proc.join(format!("{process}/comm")));
    match name {
        Ok(name) => format!("{} (process {process})", sanitize(name.trim_end())),
        Err(_) => format!("process {process}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes with their threads.
    fn proc(processes: &[(i32, &[i32])]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        fs::write(proc.path().join("uptime"), "1 1\n").unwrap();
        for (process, threads) in processes {
            let process = proc.path().join(process.to_string());
            for thread in *threads {
                fs::create_dir_all(process.join(format!("task/{thread}"))).unwrap();
            }
            fs::write(process.join("comm"), "vm\u{1b}m\n").unwrap();
        }
        proc
    }

    fn look(processes: &[(i32, &[i32])], answer: fn(i32) -> Result<u64, Errno>) -> CoreScheduling {
        let proc = proc(processes);
        look_at(proc.path(), |thread| answer(thread.as_raw_pid()))
    }

    const TWO: [(i32, &[i32]); 2] = [(10, &[10, 11]), (20, &[20])];

    #[test]
    fn a_cookie_of_any_thread_counts_and_its_process_is_named() {
        assert_eq!(look(&TWO, |_| Ok(0)), CoreScheduling::Unused);
        let found = look(&TWO, |thread| Ok(u64::from(thread == 11)));
        assert_eq!(
            found,
            CoreScheduling::Used("vm\u{fffd}m (process 10)".into())
        );
        let CoreScheduling::Used(who) = look(&TWO, |_| Ok(7)) else {
            panic!("not used");
        };
        assert!(who.ends_with(" and 1 more"), "{who}");
    }

    #[test]
    fn who_has_ended_has_none_and_who_may_not_be_asked_leaves_it_open() {
        assert_eq!(look(&TWO, |_| Err(Errno::SRCH)), CoreScheduling::Unused);
        let one_refuses = |thread| match thread {
            20 => Err(Errno::PERM),
            _ => Ok(0),
        };
        let CoreScheduling::Unknown(why) = look(&TWO, one_refuses) else {
            panic!("known");
        };
        assert!(why.contains("(process 20) cannot be asked"), "{why}");
        // One that is known to be used matters more.
        let found = look(&TWO, |thread| match thread {
            20 => Err(Errno::PERM),
            _ => Ok(1),
        });
        assert!(matches!(found, CoreScheduling::Used(_)), "{found:?}");
    }

    #[test]
    fn where_there_are_no_processes_to_see_nothing_is_known() {
        let found = look_at(Path::new("/nonexistent"), |_| Ok(0));
        assert!(matches!(found, CoreScheduling::Unknown(_)), "{found:?}");
    }

    #[test]
    fn this_kernel_is_asked_without_an_error_of_its_own() {
        // Whatever this machine has, whoever runs the tests: it says so, or that somebody may not be asked.
        match super::look() {
            CoreScheduling::Unused | CoreScheduling::Used(_) => {}
            CoreScheduling::Unknown(why) => assert!(why.contains("cannot be asked"), "{why}"),
        }
    }
}
