//! From the counters of each CPU to totals over all. Pure.
//!
//! A CPU that comes or goes within a window counts for nothing in it, and none counts for more than the window's time: what a
//! CPU counted while it was away, or while its counters were being written, is no load.

use std::collections::{BTreeMap, BTreeSet};

use auto_ext_profiler_abi::SchedCounters;
use auto_ext_signals::SchedTotals;

/// The totals so far, with the counters of each CPU at the last sample.
#[derive(Debug, Default)]
pub(crate) struct Cpus {
    at_ns: u64,
    before: BTreeMap<u32, SchedCounters>,
    totals: SchedTotals,
    cpus: u32,
}

impl Cpus {
    /// Takes in the counters of the CPUs, which are numbered from 0, as of `at_ns`; `cores` lists the CPUs of each core. Returns
    /// the totals, and of how many CPUs they are.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "no more than a window's nanoseconds"
    )]
    pub(crate) fn update(
        &mut self,
        at_ns: u64,
        counters: &[SchedCounters],
        online: &BTreeSet<u32>,
        cores: &[BTreeSet<u32>],
    ) -> (SchedTotals, u32) {
        let window = at_ns.saturating_sub(self.at_ns);
        let now: BTreeMap<u32, SchedCounters> = (0..)
            .zip(counters)
            .filter(|(number, _)| online.contains(number))
            .map(|(number, counters)| (number, until(counters, at_ns)))
            .collect();
        let mut foreground = BTreeMap::new();
        for (number, after) in &now {
            if let Some(before) = self.before.get(number) {
                let busy = add(&mut self.totals, before, after, window);
                foreground.insert(*number, busy);
            }
        }
        // The first sample begins a window, and ends none.
        let there = if self.before.is_empty() {
            now.len()
        } else {
            foreground.len()
        };
        self.cpus = u32::try_from(there).unwrap_or(u32::MAX);
        let mut busy_cores = 0.0;
        let mut of_cores = 0;
        let mut seen = BTreeSet::new();
        let alone = foreground.keys().map(|cpu| BTreeSet::from([*cpu]));
        for core in cores.iter().cloned().chain(alone) {
            let mut threads = core
                .iter()
                .filter(|cpu| seen.insert(**cpu))
                .filter_map(|cpu| foreground.get(cpu))
                .peekable();
            if threads.peek().is_some() {
                of_cores += 1;
                let idle = threads.map(|busy| 1.0 - share(*busy, window));
                busy_cores += 1.0 - idle.product::<f64>();
            }
        }
        self.totals.core_ns += (busy_cores * window as f64).round() as u64;
        self.totals.cores = of_cores;
        self.at_ns = at_ns;
        self.before = now;
        (self.totals, self.cpus)
    }
}

/// What the counters will be at `at_ns` if nothing changes until then.
fn until(counters: &SchedCounters, at_ns: u64) -> SchedCounters {
    let mut counters = *counters;
    if counters.busy != 0 {
        let more = at_ns.saturating_sub(counters.until);
        counters.busy_ns += more;
        counters.background_ns += if counters.background != 0 { more } else { 0 };
        counters.wait_ns += counters.waiting * more;
        counters.contended_ns += if counters.waiting != 0 { more } else { 0 };
    }
    counters
}

/// Adds to `totals` what a CPU did in `window` nanoseconds, and returns for how long it was busy in the foreground.
fn add(
    totals: &mut SchedTotals,
    before: &SchedCounters,
    after: &SchedCounters,
    window: u64,
) -> u64 {
    let grown = |of: fn(&SchedCounters) -> u64| of(after).saturating_sub(of(before));
    let busy = grown(|cpu| cpu.busy_ns).min(window);
    let stolen = grown(|cpu| cpu.stolen_ns).min(busy);
    let background = grown(|cpu| cpu.background_ns).min(busy - stolen);
    totals.busy_ns += busy;
    totals.stolen_ns += stolen;
    totals.background_ns += background;
    // More tasks than a kernel has cannot wait.
    totals.wait_ns += grown(|cpu| cpu.wait_ns).min(window.saturating_mul(1 << 22));
    totals.contended_ns += grown(|cpu| cpu.contended_ns).min(window);
    totals.short_ns += grown(|cpu| cpu.short_ns).min(window);
    totals.short_bursts += grown(|cpu| cpu.short_bursts);
    // A task that a timer wakes on this CPU may have had its time on another one.
    totals.timed_ns += grown(|cpu| cpu.timed_ns).min(window.saturating_mul(1 << 10));
    totals.timed_wakes += grown(|cpu| cpu.timed_wakes);
    busy - stolen - background
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn busy(busy_ns: u64) -> SchedCounters {
        SchedCounters {
            busy_ns,
            ..SchedCounters::default()
        }
    }

    fn all(cpus: u32) -> BTreeSet<u32> {
        (0..cpus).collect()
    }

    #[test]
    fn a_cpu_that_was_away_while_busy_does_not_bring_its_absence_back_as_load() {
        let mut cpus = Cpus::default();
        let running = SchedCounters {
            busy: 1,
            until: 1000 * MS,
            ..SchedCounters::default()
        };
        cpus.update(1000 * MS, &[busy(0), running], &all(2), &[]);
        cpus.update(1250 * MS, &[busy(0), running], &all(1), &[]);
        let (before, _) = cpus.update(61_000 * MS, &[busy(0), running], &all(2), &[]);
        // Its first event books the minute.
        let back = busy(60_000 * MS);
        let (after, count) = cpus.update(61_250 * MS, &[busy(0), back], &all(2), &[]);
        assert_eq!(count, 2);
        assert!(after.busy_ns - before.busy_ns <= 250 * MS, "{after:?}");
        // And one that goes and comes within a window takes no more than the window.
        let (more, _) = cpus.update(61_500 * MS, &[busy(0), busy(99_000 * MS)], &all(2), &[]);
        assert_eq!(more.busy_ns - after.busy_ns, 250 * MS);
    }

    #[test]
    fn a_core_is_busy_when_one_of_its_threads_is() {
        let cores = [BTreeSet::from([0, 2]), BTreeSet::from([1, 3])];
        let mut cpus = Cpus::default();
        let idle = [busy(0), busy(0), busy(0), busy(0)];
        cpus.update(100 * MS, &idle, &all(4), &cores);
        let one_each = [busy(100 * MS), busy(100 * MS), busy(0), busy(0)];
        let (totals, count) = cpus.update(200 * MS, &one_each, &all(4), &cores);
        assert_eq!((totals.core_ns, totals.cores, count), (200 * MS, 2, 4));
        let half = |at: u64| busy(at * MS);
        let halves = [half(150), half(150), half(50), half(50)];
        let (after, _) = cpus.update(300 * MS, &halves, &all(4), &cores);
        assert_eq!(after.core_ns - totals.core_ns, 150 * MS);
    }

    #[test]
    fn niced_and_stolen_time_is_busy_and_not_in_the_foreground() {
        let mut cpus = Cpus::default();
        cpus.update(100 * MS, &[busy(0)], &all(1), &[]);
        let counters = SchedCounters {
            busy_ns: 100 * MS,
            stolen_ns: 30 * MS,
            background_ns: 50 * MS,
            ..SchedCounters::default()
        };
        let (totals, _) = cpus.update(200 * MS, &[counters], &all(1), &[]);
        assert_eq!((totals.busy_ns, totals.core_ns), (100 * MS, 20 * MS));
    }
}
