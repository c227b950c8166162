//! Which process makes most of the load, and whether it has ended: the load is then another one, whatever schedules it. There is one
//! only where a single process has more CPU time than all others together; schedulers and the daemon do not count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often it is found out which process that is.
const FIND_EVERY: Duration = Duration::from_secs(15);
/// For how long its end counts.
const ENDED_FOR: Duration = Duration::from_secs(30);
/// More processes are not looked at.
const MAX_PROCESSES: usize = 32_768;
/// How many ticks a second a process that keeps a CPU busy has, in /proc of every architecture (USER_HZ), and the share of a CPU from
/// which on one makes a load.
const TICKS: f64 = 100.0;
const LOAD: f64 = 0.1;

/// Follows it.
#[derive(Debug, Default)]
pub(super) struct MainProcess {
    /// The CPU time of all processes, and when that was.
    before: BTreeMap<Process, u64>,
    at: Option<Instant>,
    main: Option<Process>,
    ended: Option<Instant>,
}

/// A process: its number, and when it started, as the number may be another's later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: u32,
    started: u64,
}

impl MainProcess {
    /// Whether it has ended a moment ago, by the processes in `proc`.
    pub(super) fn has_ended(&mut self, proc: &Path, now: Instant) -> bool {
        if let Some(main) = self.main
            && Stat::read(proc, main.pid).is_none_or(|stat| stat.process != main)
        {
            self.main = None;
            self.ended = Some(now);
        }
        let is_due = |at: Instant| now.saturating_duration_since(at) >= FIND_EVERY;
        if self.at.is_none_or(is_due) {
            self.find(proc, now);
        }
        self.ended
            .is_some_and(|at| now.saturating_duration_since(at) < ENDED_FOR)
    }

    fn find(&mut self, proc: &Path, now: Instant) {
        let all = times(proc);
        let before = std::mem::take(&mut self.before);
        if let Some(at) = self.at {
            let grown = |(process, time): (&Process, &u64)| {
                // What began since has had all of it since.
                let since = before.get(process).copied().unwrap_or_default();
                (*process, time.saturating_sub(since))
            };
            let grown: Vec<(Process, u64)> = all.iter().map(grown).collect();
            let sum: u64 = grown.iter().map(|(_, time)| time).sum();
            let least = LOAD * TICKS * now.saturating_duration_since(at).as_secs_f64();
            let most = grown.into_iter().max_by_key(|(_, time)| *time);
            let is_main = |(_, time): &(Process, u64)| 2 * time > sum && *time as f64 >= least;
            self.main = most.filter(is_main).map(|(process, _)| process);
        }
        self.before = all;
        self.at = Some(now);
    }
}

/// The CPU time of each process in `proc`, in ticks; ours and those that we started left out.
fn times(proc: &Path) -> BTreeMap<Process, u64> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir(proc) else {
        return BTreeMap::new();
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let stats = numbers.filter_map(|pid| Stat::read(proc, pid));
    let others = stats.filter(|stat| stat.process.pid != own && stat.parent != own);
    others
        .take(MAX_PROCESSES)
        .map(|stat| (stat.process, stat.ticks))
        .collect()
}

/// What /proc/PID/stat says (proc_pid_stat(5)).
struct Stat {
    process: Process,
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(proc: &Path, pid: u32) -> Option<Self> {
        let text = fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
        // The name may have whatever it likes in it.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // One that has ended and was not waited for does nothing any more.
        if matches!(fields.first(), Some(&("Z" | "X"))) {
            return None;
        }
        Some(Self {
            process: Process {
                pid,
                started: number(19)?,
            },
            parent: u32::try_from(number(1)?).ok()?,
            ticks: number(11)?.saturating_add(number(12)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process of this number with so many ticks.
    fn write(proc: &Path, pid: u32, started: u64, ticks: u64) {
        let directory = proc.join(pid.to_string());
        fs::create_dir_all(&directory).unwrap();
        let text = format!(
            "{pid} (a) b) R 1 1 1 0 -1 4194304 1 0 0 0 {ticks} 0 0 0 20 0 1 0 {started} 1 1\n"
        );
        fs::write(directory.join("stat"), text).unwrap();
    }

    #[test]
    fn the_load_has_ended_when_the_process_has_that_made_most_of_it() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        let (mut main, begun) = (MainProcess::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        write(proc, 7, 1, 100);
        write(proc, 8, 1, 100);
        assert!(!main.has_ended(proc, begun));
        write(proc, 7, 1, 1000);
        write(proc, 8, 1, 200);
        assert!(!main.has_ended(proc, after(15)));
        // Its number is another's now.
        write(proc, 7, 2, 0);
        assert!(main.has_ended(proc, after(16)));
        assert!(main.has_ended(proc, after(45)));
        assert!(!main.has_ended(proc, after(46)));
    }

    #[test]
    fn of_many_that_share_the_load_none_is_the_main_one() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        let (mut main, begun) = (MainProcess::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert!(!main.has_ended(proc, begun));
        // Equal shares, then hardly any load at all.
        write(proc, 7, 1, 700);
        write(proc, 8, 1, 700);
        assert!(!main.has_ended(proc, after(15)));
        write(proc, 8, 1, 710);
        assert!(!main.has_ended(proc, after(30)));
        fs::remove_dir_all(proc.join("7")).unwrap();
        fs::remove_dir_all(proc.join("8")).unwrap();
        assert!(!main.has_ended(proc, after(31)));
    }

    #[test]
    fn this_process_is_read_as_the_kernel_has_it_and_is_no_load() {
        let proc = Path::new("/proc");
        let own = std::process::id();
        let stat = Stat::read(proc, own).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert!(stat.process.started > 0);
        assert!(times(proc).keys().all(|process| process.pid != own));
    }
}
