//! Which page faults are those of programs that start: they fault in what they run. Pure.

use auto_ext_profiler_abi::StartCounters;
use auto_ext_signals::Machine;

/// How many bytes a program can be taken to fault in as it starts: its own and its libraries' pages, its heap. A compiler takes
/// 30 to 100 MB, beside two or three programs that take little.
const PROGRAM: f64 = (16 << 20) as f64;
/// The same of a process as it begins: what it writes to is copied.
const FORK: f64 = (4 << 20) as f64;
/// How much of what was not faulted in yet is kept for the next window.
const KEPT: f64 = 0.9;

/// How many page faults there have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) small: u64,
    pub(crate) huge: u64,
}

/// How many page faults can be put down to programs that start.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// How much had started, and how many faults there had been.
    before: Option<(StartCounters, Faults)>,
    /// What those that started lately may still fault in, in bytes.
    allowed: f64,
    put_down: Faults,
}

impl Starts {
    /// Takes in what has started and how many faults there have been. Returns how many of the faults are put down to
    /// what started.
    pub(crate) fn update(
        &mut self,
        starts: StartCounters,
        faults: Faults,
        machine: &Machine,
    ) -> Faults {
        if let Some((earlier, before)) = self.before.replace((starts, faults)) {
            self.allowed = self.allowed * KEPT
                + starts.programs.saturating_sub(earlier.programs) as f64 * PROGRAM
                + starts.forks.saturating_sub(earlier.forks) as f64 * FORK;
            let small = faults.small.saturating_sub(before.small);
            let huge = faults.huge.saturating_sub(before.huge);
            self.put_down.small += self.take(small, machine.page);
            self.put_down.huge += self.take(huge, machine.huge_page);
        }
        self.put_down
    }

    /// How many of these faults, on pages of that size, are allowed; they are no more.
    #[expect(clippy::cast_possible_truncation, reason = "no more than all faults")]
    fn take(&mut self, faults: u64, page: usize) -> u64 {
        let page = page.max(1) as f64;
        let taken = faults.min((self.allowed / page) as u64);
        self.allowed -= taken as f64 * page;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(forks: u64, programs: u64) -> StartCounters {
        StartCounters { forks, programs }
    }

    fn put_down(starts: &mut Starts, counters: StartCounters, small: u64, huge: u64) -> (u64, u64) {
        let faults = starts.update(counters, Faults { small, huge }, &Machine::default());
        (faults.small, faults.huge)
    }

    #[test]
    fn what_programs_fault_in_as_they_start_is_put_down_to_them() {
        let mut starts = Starts::default();
        let mut small = |counters, faults| put_down(&mut starts, counters, faults, 0).0;
        assert_eq!(small(started(9, 9), 1_000_000), 0);
        // Two programs, which take their time.
        assert_eq!(small(started(11, 11), 1_005_000), 5000);
        assert_eq!(small(started(11, 11), 1_007_000), 7000);
        // Nothing starts, and memory is mapped all the time.
        let mut last = 7000;
        for n in 1..40 {
            last = small(started(11, 11), 1_007_000 + n * 100_000);
        }
        assert!(last <= 2 * (4096 + 1024), "{last}");
    }

    #[test]
    fn a_process_that_only_begins_is_put_down_less_and_huge_pages_are_of_the_same_bytes() {
        let mut starts = Starts::default();
        put_down(&mut starts, started(0, 0), 0, 0);
        assert_eq!(
            put_down(&mut starts, started(4, 0), 100_000, 0),
            (4 * 1024, 0)
        );
        assert_eq!(
            put_down(&mut starts, started(8, 0), 101_024, 100),
            (5 * 1024, 6)
        );
    }
}
