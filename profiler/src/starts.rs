//! Which page faults are those of programs that start: they fault in what they run. Pure.

use auto_ext_profiler_abi::StartCounters;

/// How many bytes a program can be taken to fault in as it starts: its own and its libraries' pages, its heap. A compiler takes
/// 30 to 100 MB, beside two or three programs that take little.
const PROGRAM: usize = 16 << 20;
/// The same of a process as it begins: what it writes to is copied.
const FORK: usize = 4 << 20;
/// How much of what was not faulted in yet is kept for the next window.
const KEPT: f64 = 0.9;

/// How many page faults can be put down to programs that start.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// How much had started, and how many faults there had been.
    before: Option<(StartCounters, u64)>,
    /// What those that started lately may still fault in.
    allowed: f64,
    faults: u64,
}

impl Starts {
    /// Takes in what has started and how many faults there have been, on pages of that size. Returns how many of
    /// the faults are put down to what started.
    pub(crate) fn update(&mut self, starts: StartCounters, faults: u64, page: usize) -> u64 {
        if let Some((earlier, before)) = self.before.replace((starts, faults)) {
            let bytes = starts.programs.saturating_sub(earlier.programs) as f64 * PROGRAM as f64
                + starts.forks.saturating_sub(earlier.forks) as f64 * FORK as f64;
            self.allowed = self.allowed * KEPT + bytes / page.max(1) as f64;
            let put_down = (faults.saturating_sub(before) as f64).min(self.allowed);
            self.allowed -= put_down;
            self.faults += put_down as u64;
        }
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    fn started(forks: u64, programs: u64) -> StartCounters {
        StartCounters { forks, programs }
    }

    #[test]
    fn what_programs_fault_in_as_they_start_is_put_down_to_them() {
        let mut starts = Starts::default();
        assert_eq!(starts.update(started(9, 9), 1_000_000, PAGE), 0);
        // Two programs, which take their time.
        assert_eq!(starts.update(started(11, 11), 1_005_000, PAGE), 5000);
        assert_eq!(starts.update(started(11, 11), 1_007_000, PAGE), 7000);
        // Nothing starts, and memory is mapped all the time.
        let mut last = 7000;
        for n in 1..40 {
            last = starts.update(started(11, 11), 1_007_000 + n * 100_000, PAGE);
        }
        assert!(last <= 2 * (4096 + 1024), "{last}");
    }

    #[test]
    fn a_process_that_only_begins_is_put_down_less() {
        let mut starts = Starts::default();
        starts.update(started(0, 0), 0, PAGE);
        assert_eq!(starts.update(started(4, 0), 100_000, PAGE), 4 * 1024);
    }
}
