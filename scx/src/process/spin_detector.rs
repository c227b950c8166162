//! The spin detector: whether a scheduler's process uses a whole CPU, and goes on doing so, without work for it.
//!
//! One that decides in user space may well need a CPU, and more, for its work: it decides whenever a task
//! wakes up or has used up its time. So for one of these it is counted how much it does: the machine's
//! context switches are what it decides on, and there are thousands in each second of its time when
//! it works, and few when it spins. Such a scheduler is known by the memory that it has locked: were it
//! to wait for a page, nothing would run that could bring it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The share of one CPU from which on a process seems to do nothing but spin. Those of the known
/// schedulers take a few percent: they tune and count, the BPF programs schedule.
const SHARE: f64 = 0.95;
/// For how long it must look like that.
const FOR: Duration = Duration::from_secs(15);

/// How much CPU time a scheduler in user space may need for each context switch of the machine. scx_rustland needs
/// some 10 us, and many times that in an emulated machine.
const PER_SWITCH: Duration = Duration::from_micros(500);

/// What CPU time one process was seen to use.
#[derive(Debug, Default)]
pub(super) struct SpinDetector {
    /// When it was looked at last, the CPU time it had used by then, and the context switches by then.
    last: Option<(Instant, Duration, Option<u64>)>,
    /// Since when it was never seen to use less.
    since: Option<Instant>,
}

impl SpinDetector {
    /// Takes in the CPU time used until `now`, and of one that decides in user space how many context switches
    /// the machine has made; says whether the process spins.
    pub(super) fn spins(&mut self, now: Instant, used: Duration, switches: Option<u64>) -> bool {
        let Some((before, used_before, switches_before)) = self.last.replace((now, used, switches))
        else {
            return false;
        };
        let used_since = used.saturating_sub(used_before);
        let decided = switches
            .zip(switches_before)
            .map_or(0, |(now, before)| now.saturating_sub(before));
        let worth = PER_SWITCH.saturating_mul(u32::try_from(decided).unwrap_or(u32::MAX));
        if used_since < now.saturating_duration_since(before).mul_f64(SHARE) || used_since < worth {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(before);
        now.saturating_duration_since(since) >= FOR
    }

    /// Why a process that spins is ended, for people.
    pub(super) fn verdict() -> String {
        let time = humantime::format_duration(FOR);
        format!("was ended because it used a whole CPU for {time}")
    }
}

/// Whether one of these processes decides in user space what is to run.
pub(super) fn some_decide_in_user_space(proc: &Path, processes: &[i32]) -> bool {
    processes.iter().any(|pid| {
        let status = proc.join(pid.to_string()).join("status");
        let status = fs::read_to_string(status).unwrap_or_default();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        locked.is_some_and(|locked| !locked.trim().starts_with("0 "))
    })
}

/// How many context switches the machine has made.
pub(super) fn context_switches(proc: &Path) -> Option<u64> {
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    let count = stat.lines().find_map(|line| line.strip_prefix("ctxt "))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The looks at a process that uses these shares of a CPU, one of 5 s after the other; where it decides in user
    /// space, with so many context switches a second.
    fn looks(shares: &[f64], switches: Option<u64>) -> Vec<bool> {
        let (mut spin_detector, mut now, mut used) =
            (SpinDetector::default(), Instant::now(), Duration::ZERO);
        let mut made = switches.map(|_| 0);
        let mut looks = vec![spin_detector.spins(now, used, made)];
        for share in shares {
            now += Duration::from_secs(5);
            used += Duration::from_secs(5).mul_f64(*share);
            made = made.zip(switches).map(|(made, more)| made + 5 * more);
            looks.push(spin_detector.spins(now, used, made));
        }
        looks
    }

    #[test]
    fn a_whole_cpu_all_the_time_is_spinning_and_one_pause_is_none() {
        let spins = [false, false, false, true, true, true];
        assert_eq!(looks(&[1.0; 5], None), spins);
        assert_eq!(looks(&[1.0, 1.0, 0.9, 1.0, 1.0, 0.9], None), [false; 7]);
        assert_eq!(looks(&[0.05; 8], None), [false; 9]);
        // Several threads of it.
        assert_eq!(looks(&[3.0; 3], None), [false, false, false, true]);
    }

    #[test]
    fn one_that_decides_in_user_space_and_has_much_to_do_does_not_spin() {
        let spins = [false, false, false, true, true, true];
        assert_eq!(looks(&[1.0; 5], Some(20_000)), [false; 6]);
        assert_eq!(looks(&[1.0; 5], Some(200)), spins);
        // Two CPUs for what is one CPU's work.
        assert_eq!(looks(&[2.0; 5], Some(3_000)), spins);
    }

    #[test]
    fn a_process_with_locked_memory_decides_in_user_space() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, status) in [
            ("7", "Name:\tsh\nVmLck:\t       0 kB\n"),
            ("8", "Name:\tscx_rustland\nVmLck:\t   67584 kB\n"),
        ] {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("status"), status).unwrap();
        }
        assert!(!some_decide_in_user_space(proc.path(), &[7, 9]));
        assert!(some_decide_in_user_space(proc.path(), &[7, 8]));
        fs::write(proc.path().join("stat"), "cpu 1 2\nctxt 115315\nbtime 1\n").unwrap();
        assert_eq!(context_switches(proc.path()), Some(115_315));
    }
}
