//! How busy each CPU is and how many tasks wait for it, from counters that the kernel always has:
//! /proc/stat (Documentation/filesystems/proc.rst) and /proc/schedstat
//! (Documentation/scheduler/sched-stats.rst).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The column of /proc/schedstat with the nanoseconds that tasks waited, for any scheduling class.
const RUN_DELAY: usize = 7;
/// The columns of /proc/stat that add up to all time, and those of them in which a CPU was idle.
const ALL_TIME: std::ops::Range<usize> = 0..8;
const IDLE_TIME: std::ops::Range<usize> = 3..5;

/// One CPU over the time between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cpu {
    /// Its number.
    pub(super) number: u32,
    /// Share of the time in which it was not idle, 0 to 1.
    pub(super) busy: f64,
    /// The mean number of tasks that waited for it; none where the kernel does not count.
    pub(super) waiting: Option<f64>,
}

/// Totals of one CPU since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    ticks: u64,
    idle_ticks: u64,
    wait_ns: Option<u64>,
}

/// Reads below a root, which tests replace.
#[derive(Debug)]
pub(super) struct CpuReader {
    root: PathBuf,
    last: Option<(Duration, BTreeMap<u32, Totals>)>,
}

impl CpuReader {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            last: None,
        }
    }

    /// Each CPU that was there at the last reading and still is, since then; `now` is the time
    /// since any fixed moment.
    pub(super) fn read(&mut self, now: Duration) -> Vec<Cpu> {
        let text = |path| fs::read_to_string(self.root.join(path)).unwrap_or_default();
        let totals = totals(&text("proc/stat"), &text("proc/schedstat"));
        let cpus = match &self.last {
            Some((before, last)) => between(last, &totals, now.saturating_sub(*before)),
            None => Vec::new(),
        };
        self.last = Some((now, totals));
        cpus
    }
}

fn totals(stat: &str, schedstat: &str) -> BTreeMap<u32, Totals> {
    let mut totals: BTreeMap<u32, Totals> = lines(stat)
        .filter_map(|(number, columns)| {
            Some((
                number,
                Totals {
                    ticks: columns.get(ALL_TIME)?.iter().sum(),
                    idle_ticks: columns.get(IDLE_TIME)?.iter().sum(),
                    wait_ns: None,
                },
            ))
        })
        .collect();
    for (number, columns) in lines(schedstat) {
        if let Some(totals) = totals.get_mut(&number) {
            totals.wait_ns = columns.get(RUN_DELAY).copied();
        }
    }
    totals
}

/// The lines of single CPUs, each with its number and its columns.
fn lines(text: &str) -> impl Iterator<Item = (u32, Vec<u64>)> + '_ {
    text.lines().filter_map(|line| {
        let (number, columns) = line.strip_prefix("cpu")?.split_once(' ')?;
        let columns = columns.split_whitespace().map(str::parse);
        Some((
            number.parse().ok()?,
            columns.collect::<Result<_, _>>().ok()?,
        ))
    })
}

fn between(
    before: &BTreeMap<u32, Totals>,
    after: &BTreeMap<u32, Totals>,
    dt: Duration,
) -> Vec<Cpu> {
    let cpu = |(&number, after): (&u32, &Totals)| {
        let before = before.get(&number)?;
        let ticks = after.ticks.saturating_sub(before.ticks) as f64;
        let idle = after.idle_ticks.saturating_sub(before.idle_ticks) as f64;
        let waited = match (before.wait_ns, after.wait_ns) {
            (Some(before), Some(after)) => Some(after.saturating_sub(before) as f64),
            _ => None,
        };
        Some(Cpu {
            number,
            busy: if ticks > 0.0 {
                (1.0 - idle / ticks).clamp(0.0, 1.0)
            } else {
                0.0
            },
            waiting: waited
                .filter(|_| !dt.is_zero())
                .map(|ns| ns / dt.as_nanos() as f64),
        })
    };
    after.iter().filter_map(cpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn write(root: &Path, stat: &str, schedstat: Option<&str>) {
        fs::create_dir_all(root.join("proc")).unwrap();
        fs::write(root.join("proc/stat"), stat).unwrap();
        if let Some(text) = schedstat {
            fs::write(root.join("proc/schedstat"), text).unwrap();
        }
    }

    #[test]
    fn load_and_waiting_tasks_are_those_between_two_readings() {
        let root = tempfile::tempdir().unwrap();
        let mut reader = CpuReader::new(root.path());
        write(
            root.path(),
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 0 0 900 0 0 0 0 5 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 1\n",
            Some(
                "version 17\ntimestamp 1\ncpu0 0 0 1 2 3 4 500 1000 7\ndomain0 MC 3 1 2\ncpu1 0 0 1 2 3 4 0 0 7\n",
            ),
        );
        assert_eq!(reader.read(SECOND), []);
        write(
            root.path(),
            "cpu0 150 0 25 915 10 0 0 0 9 0\ncpu1 100 0 0 0 0 0 0 0 0 0\ncpu2 1 0 0 0 0 0 0 0 0 0\n",
            Some("cpu0 0 0 1 2 3 4 500 1000 7\ncpu1 0 0 1 2 3 4 0 3000000000 7\n"),
        );
        let cpu = |number, busy, waiting| Cpu {
            number,
            busy,
            waiting: Some(waiting),
        };
        assert_eq!(
            reader.read(3 * SECOND),
            [cpu(0, 0.75, 0.0), cpu(1, 1.0, 1.5)]
        );
    }

    #[test]
    fn a_kernel_that_does_not_count_waiting_tasks_says_nothing_of_them() {
        let root = tempfile::tempdir().unwrap();
        let mut reader = CpuReader::new(root.path());
        let stat = "cpu0 1 0 0 1 0 0 0 0 0 0\n";
        write(root.path(), stat, None);
        reader.read(SECOND);
        let cpus = reader.read(2 * SECOND);
        assert_eq!((cpus[0].busy, cpus[0].waiting), (0.0, None));
    }

    #[test]
    fn garbled_and_missing_files_give_no_cpus() {
        let root = tempfile::tempdir().unwrap();
        let mut reader = CpuReader::new(root.path());
        assert_eq!(reader.read(SECOND), []);
        write(root.path(), "cpu0 a b\ncpux 1 2\ncpu1 1\n", Some("cpu"));
        assert_eq!(reader.read(2 * SECOND), []);
        assert_eq!(reader.read(3 * SECOND), []);
    }
}
