//! From the counters about direct reclaim to the time that tasks were in it. Pure.
//!
//! A task that was in it when the programs were attached ends what never began. As soon as one does, it is known to have been
//! in it all the time.

use auto_ext_profiler_abi::ReclaimCounters;
use auto_ext_signals::ReclaimTotals;

/// The time so far, with the counters at the last sample.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    before: Option<(u64, Sum)>,
    /// How many more tasks were in it than were seen to begin.
    unseen: i64,
    task_ns: u64,
}

/// The counters of all CPUs: only their sum means something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    active: u64,
    task_ns: u64,
}

impl Sum {
    /// Adds those of a CPU.
    pub(crate) fn add(&mut self, cpu: &ReclaimCounters) {
        self.active = self.active.wrapping_add(cpu.active);
        self.task_ns = self.task_ns.wrapping_add(cpu.task_ns);
    }

    /// The nanoseconds until `at_ns`, when so many more tasks are in it than were seen to begin. Wraps.
    fn until(self, at_ns: u64, unseen: i64) -> u64 {
        let active = self.active.wrapping_add_signed(unseen);
        self.task_ns.wrapping_add(active.wrapping_mul(at_ns))
    }
}

impl Reclaim {
    /// Takes in the counters as of `at_ns`.
    pub(crate) fn update(&mut self, at_ns: u64, sum: Sum) -> ReclaimTotals {
        self.unseen = self.unseen.max(sum.active.wrapping_neg().cast_signed());
        if let Some((before_ns, before)) = self.before.replace((at_ns, sum)) {
            let grown = sum
                .until(at_ns, self.unseen)
                .wrapping_sub(before.until(before_ns, self.unseen));
            // They are read while they are written, so it may seem to run backwards.
            self.task_ns += u64::try_from(grown.cast_signed()).unwrap_or(0);
        }
        ReclaimTotals {
            task_ns: self.task_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(sum: &mut Sum, at: u64) {
        sum.active = sum.active.wrapping_add(1);
        sum.task_ns = sum.task_ns.wrapping_sub(at);
    }

    fn ends(sum: &mut Sum, at: u64) {
        sum.active = sum.active.wrapping_sub(1);
        sum.task_ns = sum.task_ns.wrapping_add(at);
    }

    #[test]
    fn tasks_in_reclaim_count_while_they_are_in_it() {
        let (mut reclaim, mut sum) = (Reclaim::default(), Sum::default());
        reclaim.update(1000, sum);
        begins(&mut sum, 1100);
        assert_eq!(reclaim.update(1200, sum).task_ns, 100);
        begins(&mut sum, 1250);
        ends(&mut sum, 1300);
        assert_eq!(reclaim.update(1400, sum).task_ns, 100 + 200 + 50);
    }

    #[test]
    fn who_was_in_it_before_leaves_nothing_behind_and_costs_no_later_window() {
        let (mut reclaim, mut sum) = (Reclaim::default(), Sum::default());
        reclaim.update(5_000, sum);
        ends(&mut sum, 5_200);
        assert_eq!(reclaim.update(5_250, sum).task_ns, 200);
        assert_eq!(reclaim.update(5_500, sum).task_ns, 200);
        begins(&mut sum, 5_600);
        assert_eq!(reclaim.update(5_750, sum).task_ns, 350);
        ends(&mut sum, 5_800);
        assert_eq!(reclaim.update(6_000, sum).task_ns, 400);
    }
}
