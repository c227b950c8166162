//! Which page faults are those of programs that start: they fault in what they run. Pure.

/// How many bytes a program can be taken to fault in as it starts: its own and its libraries' pages, its heap. A compiler takes
/// 30 to 100 MB, beside two or three programs that take little.
const START: usize = 16 << 20;
/// How much of what was not faulted in yet is kept for the next window.
const KEPT: f64 = 0.8;

/// How many page faults can be put down to programs that start.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// How many programs had started, and how many faults there had been.
    before: Option<(u64, u64)>,
    /// What those that started lately may still fault in.
    allowed: f64,
    faults: u64,
}

impl Starts {
    /// Takes in how many programs have started and how many faults there have been, on pages of that size. Returns how many of
    /// the faults are put down to the programs.
    pub(crate) fn update(&mut self, programs: u64, faults: u64, page: usize) -> u64 {
        if let Some((started, before)) = self.before.replace((programs, faults)) {
            let started = programs.saturating_sub(started) as f64;
            self.allowed = self.allowed * KEPT + started * (START / page.max(1)) as f64;
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

    #[test]
    fn what_programs_fault_in_as_they_start_is_put_down_to_them() {
        let mut starts = Starts::default();
        let page = 4096;
        assert_eq!(starts.update(100, 1_000_000, page), 0);
        // Two programs, which take their time.
        assert_eq!(starts.update(102, 1_005_000, page), 5000);
        assert_eq!(starts.update(102, 1_007_000, page), 7000);
        // Nothing starts, and memory is mapped all the time.
        let mut last = 7000;
        for n in 1..40 {
            last = starts.update(102, 1_007_000 + n * 100_000, page);
        }
        assert!(last < 10_000 + 2 * 4096, "{last}");
    }
}
