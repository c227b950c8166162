//! On which CPUs groups ran in a window, and how busy each CPU was, by what /proc says at both ends of it. Who was beside whom is
//! judged in [`crate::core`].

use std::collections::BTreeMap;
use std::path::Path;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::{Cpus, MAX_CPUS};

use crate::core::{CpuTime, Ran};
use crate::groups::{Key, MAX_THREADS, stat, tids};

/// How large /proc/stat may be, in bytes: a line for each CPU, and one with a number for each interrupt.
const MAX_STAT: usize = 4 << 20;
/// How large /proc/PID/task/TID/stat may be.
const MAX_LINE: usize = 4096;
/// The places of what a CPU did nothing in: idle, and idle while something waits for a disk (proc_stat(5)).
const IDLE: [usize; 2] = [3, 4];
/// Behind these times there are those of guests, which are in the others too.
const TIMES: usize = 8;

/// One end of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    cpus: BTreeMap<u32, CpuTime>,
    /// Of each thread, how long it has run, in ticks, and the CPU that it was on last.
    groups: BTreeMap<Key, BTreeMap<u32, (u64, u32)>>,
}

/// A window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupied {
    pub(crate) cpus: BTreeMap<u32, CpuTime>,
    pub(crate) groups: BTreeMap<Key, Ran>,
}

impl Occupancy {
    /// Of the threads of these groups on the machine below `root`, each with its processes.
    pub(crate) fn read<'g>(
        root: &Path,
        groups: impl Iterator<Item = (&'g Key, &'g [u32])>,
    ) -> Self {
        let files = Root::new(root);
        let text = files.text("proc/stat", MAX_STAT).unwrap_or_default();
        let mut left = MAX_THREADS;
        let mut of_group = |pids: &[u32]| {
            let mut threads = BTreeMap::new();
            for pid in pids {
                let tids = tids(root, &[*pid], left).unwrap_or_default();
                left = left.saturating_sub(tids.len());
                for tid in tids {
                    let line = files.text(&format!("proc/{pid}/task/{tid}/stat"), MAX_LINE);
                    if let Some(stat) = line.and_then(|line| stat(&line)) {
                        threads.insert(tid, (stat.used, stat.cpu));
                    }
                }
            }
            threads
        };
        Self {
            cpus: cpus(&text),
            groups: groups
                .map(|(key, pids)| (key.clone(), of_group(pids)))
                .collect(),
        }
    }

    /// The CPUs on which those threads of a group are now that ran since `before`.
    pub(crate) fn now_on(&self, group: &Key, before: &Self) -> Cpus {
        let (Some(now), Some(before)) = (self.groups.get(group), before.groups.get(group)) else {
            return Cpus::new();
        };
        let ran = now.iter().filter(|(tid, (used, _))| {
            let before = before.get(tid).map_or(0, |(before, _)| *before);
            *used > before
        });
        ran.map(|(_, (_, cpu))| *cpu).collect()
    }

    /// What passed since `before`. Of a thread that moved, both CPUs count.
    pub(crate) fn since(&self, before: &Self) -> Occupied {
        let time = |(cpu, now): (&u32, &CpuTime)| {
            let before = before.cpus.get(cpu)?;
            let time = CpuTime {
                busy: now.busy.checked_sub(before.busy)?,
                idle: now.idle.checked_sub(before.idle)?,
            };
            Some((*cpu, time))
        };
        let ran = |(key, now): (&Key, &BTreeMap<u32, (u64, u32)>)| {
            let threads = before.groups.get(key)?;
            let mut ran = Ran::default();
            for (tid, (used, cpu)) in now {
                let (used_before, first) = threads.get(tid).copied().unwrap_or((0, *cpu));
                let time = used.saturating_sub(used_before);
                if time > 0 {
                    ran.time += time;
                    ran.cpus.extend([first, *cpu]);
                }
            }
            Some((key.clone(), ran))
        };
        Occupied {
            cpus: self.cpus.iter().filter_map(time).collect(),
            groups: self.groups.iter().filter_map(ran).collect(),
        }
    }
}

/// The times of each CPU since the boot, in ticks.
fn cpus(text: &str) -> BTreeMap<u32, CpuTime> {
    let cpu = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split_ascii_whitespace();
        // The first line is of all of them, and has no number.
        let cpu: u32 = words.next()?.parse().ok()?;
        let times = words.take(TIMES).map(str::parse);
        let times: Vec<u64> = times.collect::<Result<_, _>>().ok()?;
        let all = times
            .iter()
            .try_fold(0_u64, |all, time| all.checked_add(*time))?;
        let idle = IDLE.iter().map(|at| times.get(*at).copied().unwrap_or(0));
        let idle = idle.fold(0_u64, u64::saturating_add);
        let is_of_cpu = line.as_bytes().get(3).is_some_and(u8::is_ascii_digit);
        let time = CpuTime {
            busy: all.checked_sub(idle)?,
            idle,
        };
        (is_of_cpu && cpu < MAX_CPUS).then_some((cpu, time))
    };
    text.lines().filter_map(cpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  300 0 100 1600 0 0 0 0 0 0\n\
        cpu0 100 1 50 700 100 3 2 4 50 0\n\
        cpu7 9 x 0 0 0 0 0 0 0 0\n\
        cpu9 200 0 50 900 0 0 0 0\n\
        intr 5 0 0\nctxt 7\n";

    #[test]
    fn the_times_of_each_cpu_are_read_and_those_of_guests_not_twice() {
        let time = |busy, idle| CpuTime { busy, idle };
        assert_eq!(
            cpus(STAT),
            BTreeMap::from([(0, time(160, 800)), (9, time(250, 900))])
        );
    }

    #[test]
    fn between_two_looks_there_are_the_cpus_of_threads_that_ran() {
        let key = || Key::ProcessGroup(7);
        let at = |busy, threads: &[(u32, (u64, u32))]| Occupancy {
            cpus: [(0, CpuTime { busy, idle: 1000 })].into(),
            groups: [(key(), threads.iter().copied().collect())].into(),
        };
        let before = at(500, &[(1, (10, 0)), (2, (20, 5)), (3, (7, 6))]);
        // The first moved, the second slept, the third ended, the fourth began.
        let now = at(800, &[(1, (110, 4)), (2, (20, 5)), (4, (3, 2))]);
        let since = now.since(&before);
        let expected = Ran {
            cpus: [0, 2, 4].into(),
            time: 103,
        };
        assert_eq!(since.groups[&key()], expected);
        assert_eq!(now.now_on(&key(), &before), [2, 4].into());
        assert_eq!(now.now_on(&Key::ProcessGroup(8), &before), [].into());
        assert_eq!(since.cpus[&0], CpuTime { busy: 300, idle: 0 });
        assert!(before.since(&now).cpus.is_empty(), "it went backwards");
    }

    #[test]
    fn this_process_is_seen_to_run_on_a_cpu_that_is_busy() {
        let (key, this) = (Key::ProcessGroup(1), [std::process::id()]);
        let read = || Occupancy::read(Path::new("/"), [(&key, &this[..])].into_iter());
        let before = read();
        loop {
            let since = read().since(&before);
            let ran = &since.groups[&key];
            if ran.time >= 5 {
                assert!(!ran.cpus.is_empty());
                assert!(ran.cpus.iter().all(|cpu| since.cpus.contains_key(cpu)));
                break;
            }
        }
    }
}
