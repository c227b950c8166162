//! The formulas: how the two samples of a window become one set of signals. Pure: no clock, no I/O.
//!
//! A scheduler can help only where something waits, or somebody notices. So work that runs only where nobody else wants to
//! (niced, or of the idle class) is no load, and neither is what auto-ext uses itself, to load a scheduler for example, nor
//! time that a virtual machine's host takes away.

use crate::sample::{Machine, Sample};
use crate::signal::{Signal, Signals};

/// The least CPU time in use with which `net`, `mem` and the writing of files can reach 1, in CPUs: throughput matters only
/// when it takes a whole CPU.
const THROUGHPUT_FLOOR: f64 = 1.0;
/// The least value of it on large machines, whose background work grows with them, as a share of the CPUs.
const FLOOR_SHARE: f64 = 0.01;
/// The CPU time for work with a rhythm with which `interactive` is 1, in CPUs. Sound takes about half of it, and a game more.
const FULLY_INTERACTIVE: f64 = 0.1;
/// How much of the CPU time in short bursts counts as interactive that no timer brought about.
const WOKEN_BY_OTHERS: f64 = 0.15;
/// How long such a burst is, in nanoseconds, so that it counts on a busy machine too, less the longer it is: tasks that pass
/// messages work for some microseconds, those of a pool that meet at a barrier for milliseconds.
const BRIEF_BURST_NS: f64 = 500_000.0;
/// The values of `net` and `io` with which the network or disks are what these bursts come from.
const BURSTS_OF_NET: f64 = 0.1;
const BURSTS_OF_IO: f64 = 0.2;
/// How many requests must be in flight on average to count as a whole window in which somebody waits, though the kernel
/// saw nobody stall: who issues requests asynchronously waits in ways that it does not count.
const DEEP_QUEUE: f64 = 4.0;
/// How much longer auto-ext's own task, which loads a scheduler for example, is there than it runs, beside a task or two that
/// it shares a CPU with.
const OWN_IS_THERE: f64 = 3.0;
/// How much more than there is the counters of a window may show, by the time that reading them takes.
const TOLERANCE: f64 = 0.02;

/// CPU time of writing one page through the page cache, in page faults: both take a page from the
/// allocator and fill it; the file system comes on top, in the writer and in the flusher. Measured
/// with ext4: 1.7 on a fast machine (2 us and 1.15 us), 3.5 in an emulated one.
const DIRTIED_PAGE_FAULTS: f64 = 3.0;

impl Signals {
    /// The signals of the window from `before` to `after`, or `None` when no time passed, or when the counters cannot be: more
    /// CPU time was used than there was.
    ///
    /// Counters that seem to run backwards (they are read while they are written) count as zero.
    #[must_use]
    pub fn between(before: &Sample, after: &Sample, machine: &Machine) -> Option<Self> {
        let window = Window::new(before, after, machine)?;
        let mut signals = Self::default();
        signals.set(Signal::Cpu, window.cpu());
        signals.set(Signal::Parallel, window.parallel());
        signals.set(Signal::Contended, window.contended());
        signals.set(Signal::Io, window.io());
        signals.set(Signal::Net, window.net());
        signals.set(Signal::Mem, window.mem());
        signals.set(Signal::Interactive, window.interactive());
        Some(signals)
    }
}

/// What the two samples of a window say.
struct Window<'s> {
    before: &'s Sample,
    after: &'s Sample,
    machine: &'s Machine,
    /// Nanoseconds.
    length: f64,
    /// How many CPUs there were.
    cpus: f64,
    /// Nanoseconds of CPU time that auto-ext used itself.
    own: f64,
    sched: Option<Sched>,
}

/// What the CPUs did, in nanoseconds.
struct Sched {
    busy: f64,
    stolen: f64,
    core: f64,
    cores: f64,
    wait: f64,
    contended: f64,
    short: f64,
    /// How many bursts that were; at least one.
    short_bursts: f64,
    timed: f64,
}

impl<'s> Window<'s> {
    fn new(before: &'s Sample, after: &'s Sample, machine: &'s Machine) -> Option<Self> {
        let length = after.at_ns.checked_sub(before.at_ns).filter(|ns| *ns > 0)? as f64;
        let cpus = f64::from(after.cpus.max(1));
        let sched = before.sched.zip(after.sched).map(|(before, after)| Sched {
            busy: grown(before.busy_ns, after.busy_ns),
            stolen: grown(before.stolen_ns, after.stolen_ns),
            core: grown(before.core_ns, after.core_ns),
            cores: f64::from(after.cores.max(1)),
            wait: grown(before.wait_ns, after.wait_ns),
            contended: grown(before.contended_ns, after.contended_ns),
            short: grown(before.short_ns, after.short_ns),
            short_bursts: grown(before.short_bursts, after.short_bursts).max(1.0),
            timed: grown(before.timed_ns, after.timed_ns),
        });
        let can_be = |sched: &Sched| sched.busy <= (1.0 + TOLERANCE) * cpus * length;
        if sched.as_ref().is_some_and(|sched| !can_be(sched)) {
            return None;
        }
        let own = delta(before.kernel.own_us, after.kernel.own_us).map_or(0.0, |us| us * 1000.0);
        Some(Self {
            before,
            after,
            machine,
            length,
            cpus,
            own,
            sched,
        })
    }

    /// The CPU time that others used.
    fn used(&self) -> f64 {
        let sched = self.sched.as_ref();
        sched.map_or(0.0, |sched| (sched.busy - sched.stolen - self.own).max(0.0))
    }

    /// How long one task was too many because auto-ext's own ran, or waited to run.
    fn waited_for_own(&self) -> f64 {
        (OWN_IS_THERE * self.own).min(self.length)
    }

    /// That, or as much as makes a throughput worth its name.
    fn throughput(&self) -> f64 {
        let floor = THROUGHPUT_FLOOR.max(FLOOR_SHARE * self.cpus);
        self.used().max(floor * self.length)
    }

    /// A count of microseconds as a share of the window.
    fn stalled(&self, before: Option<u64>, after: Option<u64>) -> Option<f64> {
        delta(before, after).map(|us| share(us * 1000.0, self.length))
    }

    fn cpu(&self) -> Option<f64> {
        let sched = self.sched.as_ref()?;
        let there = sched.cores * self.length;
        // Of what a host took away nobody could have used anything; what auto-ext used, others would have that waited.
        let stolen = sched.stolen * sched.cores / self.cpus;
        let used = sched.core - self.own + self.own.min(sched.wait);
        Some(share(used, there - stolen.min(0.9 * there)))
    }

    fn parallel(&self) -> Option<f64> {
        let sched = self.sched.as_ref()?;
        let wait = (sched.wait - self.waited_for_own()).max(0.0);
        Some(wait / self.used().max(self.length))
    }

    fn contended(&self) -> Option<f64> {
        let sched = self.sched.as_ref()?;
        // Where others wait too, it stays so without auto-ext's own.
        let others = 1.0 - share(self.waited_for_own(), sched.wait.max(1.0));
        Some(share(
            others * sched.contended,
            self.used().max(self.length),
        ))
    }

    fn interactive(&self) -> Option<f64> {
        let sched = self.sched.as_ref()?;
        let idle = 1.0 - share(sched.busy, self.cpus * self.length);
        let not_of_net = 1.0 - share(self.net().unwrap_or(0.0), BURSTS_OF_NET);
        let not_of_io = 1.0 - share(self.io().unwrap_or(0.0), BURSTS_OF_IO);
        let bursts = not_of_net * not_of_io * (sched.short - sched.timed).max(0.0);
        let slowness = self.machine.slowness();
        let long = share(sched.short, sched.short_bursts * BRIEF_BURST_NS * slowness);
        let others = WOKEN_BY_OTHERS * idle.max(1.0 - long) * bursts;
        let full = FULLY_INTERACTIVE * slowness * self.length;
        Some(share(sched.timed + others, full))
    }

    fn io(&self) -> Option<f64> {
        let (before, after) = (&self.before.kernel, &self.after.kernel);
        let stalled = self.stalled(before.psi_io_us, after.psi_io_us);
        let block = self.before.block.zip(self.after.block);
        let in_flight = block.map(|(before, after)| {
            let waited_for = grown(before.foreground_ns, after.foreground_ns) / self.length;
            let depth = grown(before.flight_ns, after.flight_ns) / self.length;
            // Who stalls without requests in flight is held back, or waits for something else.
            waited_for
                .min(stalled.unwrap_or(1.0))
                .max(share(depth, DEEP_QUEUE))
        });
        // Buffered writes keep the machine busy with IO long before the first request is issued.
        let dirtied = delta(before.dirtied_pages, after.dirtied_pages).map(|pages| {
            let writing = pages * self.machine.fault_ns * DIRTIED_PAGE_FAULTS;
            share(writing, self.throughput())
        });
        greatest([in_flight, dirtied])
    }

    fn net(&self) -> Option<f64> {
        let copied = delta(self.before.kernel.net_bytes, self.after.kernel.net_bytes)
            .map_or(0.0, |bytes| bytes * self.machine.byte_ns());
        let softirq = self.before.softirq.zip(self.after.softirq);
        softirq.map(|(before, after)| {
            let softirq = grown(before.net_ns, after.net_ns);
            share(softirq + copied, self.throughput())
        })
    }

    fn mem(&self) -> Option<f64> {
        let (before, after) = (&self.before.kernel, &self.after.kernel);
        let faulting = delta(before.faults, after.faults).map(|faults| {
            let starts = delta(before.start_faults, after.start_faults).unwrap_or(0.0);
            let huge = delta(before.huge_faults, after.huge_faults).unwrap_or(0.0);
            let huge_starts =
                delta(before.start_huge_faults, after.start_huge_faults).unwrap_or(0.0);
            let faults = (faults - starts).max(0.0) * self.machine.fault_ns;
            let huge = (huge - huge_starts).max(0.0);
            share(
                faults + huge * self.machine.huge_fault_ns,
                self.throughput(),
            )
        });
        let reclaim = self.before.reclaim.zip(self.after.reclaim);
        let reclaiming =
            reclaim.map(|(before, after)| share(grown(before.task_ns, after.task_ns), self.length));
        // Without pages that were taken back, who stalls is held back by a limit of its own.
        let short = delta(before.reclaimed_pages, after.reclaimed_pages).is_none_or(|n| n > 0.0);
        let stalled = self.stalled(before.psi_memory_us, after.psi_memory_us);
        greatest([faulting, reclaiming, stalled.filter(|_| short)])
    }
}

/// By how much a counter grew, where it was read both times.
fn delta(before: Option<u64>, after: Option<u64>) -> Option<f64> {
    Some(grown(before?, after?))
}

/// The greatest of several measures of the same thing, as far as they could be taken.
fn greatest<const N: usize>(ways: [Option<f64>; N]) -> Option<f64> {
    ways.into_iter().flatten().reduce(f64::max)
}

fn grown(before: u64, after: u64) -> f64 {
    after.saturating_sub(before) as f64
}

/// `part` of `whole` as a share. CPU time seen in softirqs on idle CPUs can exceed the CPU time that
/// tasks used, so the share is bounded.
fn share(part: f64, whole: f64) -> f64 {
    (part / whole).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{BlockTotals, KernelTotals, ReclaimTotals, SchedTotals, SoftirqTotals};

    const SECOND: u64 = 1_000_000_000;
    const MACHINE: Machine = Machine {
        fault_ns: 500.0,
        huge_fault_ns: 100_000.0,
        page: 4096,
        huge_page: 2 << 20,
    };

    /// As many cores as CPUs.
    fn sample(cpus: u32, at_ns: u64, sched: SchedTotals) -> Sample {
        Sample {
            at_ns,
            cpus,
            sched: Some(SchedTotals {
                cores: cpus,
                ..sched
            }),
            ..Sample::default()
        }
    }

    /// CPUs that were busy for so long with one load, of which nothing is in the background.
    fn busy(busy_ns: u64) -> SchedTotals {
        SchedTotals {
            busy_ns,
            core_ns: busy_ns,
            ..SchedTotals::default()
        }
    }

    fn signals_of_one_second(cpus: u32, sched: SchedTotals) -> Signals {
        let before = sample(cpus, SECOND, SchedTotals::default());
        let after = sample(cpus, 2 * SECOND, sched);
        Signals::between(&before, &after, &MACHINE).unwrap()
    }

    /// The signals of a second in which one CPU of four was busy, and that changes the counters so.
    fn with(change: impl Fn(&mut Sample)) -> Signals {
        let mut before = sample(4, SECOND, SchedTotals::default());
        before.kernel = KernelTotals {
            psi_io_us: Some(0),
            psi_memory_us: Some(0),
            faults: Some(0),
            start_faults: Some(0),
            start_huge_faults: Some(0),
            reclaimed_pages: Some(0),
            huge_faults: Some(0),
            dirtied_pages: Some(0),
            net_bytes: Some(0),
            net_packets: Some(0),
            own_us: Some(0),
        };
        before.block = Some(BlockTotals::default());
        before.softirq = Some(SoftirqTotals::default());
        before.reclaim = Some(ReclaimTotals::default());
        let mut after = Sample {
            at_ns: 2 * SECOND,
            ..before
        };
        after.sched = sample(4, 0, busy(SECOND)).sched;
        change(&mut after);
        Signals::between(&before, &after, &MACHINE).unwrap()
    }

    #[test]
    fn one_hog_per_cpu_is_all_of_the_cpu_on_one_cpu_and_on_128() {
        for cpus in [1, 128] {
            let signals = signals_of_one_second(cpus, busy(u64::from(cpus) * SECOND));
            assert_eq!(signals.get(Signal::Cpu), Some(1.0));
            assert_eq!(signals.get(Signal::Parallel), Some(0.0));
            assert_eq!(signals.get(Signal::Contended), Some(0.0));
        }
    }

    #[test]
    fn a_thread_on_each_core_is_all_of_the_cpu() {
        let mut sched = busy(8 * SECOND);
        let before = sample(16, SECOND, SchedTotals::default());
        let mut after = sample(16, 2 * SECOND, sched);
        sched.cores = 8;
        after.sched = Some(sched);
        let signals = Signals::between(&before, &after, &MACHINE).unwrap();
        assert_eq!(signals.get(Signal::Cpu), Some(1.0));
    }

    #[test]
    fn niced_work_is_no_load() {
        let sched = SchedTotals {
            busy_ns: 4 * SECOND,
            background_ns: 4 * SECOND,
            ..SchedTotals::default()
        };
        let signals = signals_of_one_second(4, sched);
        assert_eq!(signals.get(Signal::Cpu), Some(0.0));
    }

    #[test]
    fn of_what_the_host_takes_away_nobody_could_have_used_anything() {
        let stolen = |core_ns| SchedTotals {
            busy_ns: core_ns + 2 * SECOND,
            stolen_ns: 2 * SECOND,
            core_ns,
            ..SchedTotals::default()
        };
        let cpu = |core_ns| signals_of_one_second(4, stolen(core_ns)).get(Signal::Cpu);
        assert_eq!(cpu(2 * SECOND), Some(1.0), "hogs");
        assert_eq!(cpu(0), Some(0.0), "an idle guest");
    }

    #[test]
    fn what_auto_ext_uses_itself_is_no_load() {
        let own = |us| KernelTotals {
            own_us: us,
            ..KernelTotals::default()
        };
        let mut before = sample(4, SECOND, SchedTotals::default());
        before.kernel = own(Some(500));
        let cpu = |us| {
            let mut after = sample(4, 2 * SECOND, busy(3 * SECOND));
            after.kernel = own(us);
            let signals = Signals::between(&before, &after, &MACHINE).unwrap();
            signals.get(Signal::Cpu)
        };
        assert_eq!(cpu(Some(1_000_500)), Some(0.5));
        assert_eq!(cpu(Some(9_000_000)), Some(0.0));
        assert_eq!(cpu(None), Some(0.75));
    }

    #[test]
    fn who_waits_for_what_auto_ext_does_itself_does_not_count() {
        let signals = with(|sample| {
            sample.kernel.own_us = Some(400_000);
            sample.sched = Some(SchedTotals {
                wait_ns: SECOND,
                contended_ns: SECOND,
                cores: 4,
                ..busy(4 * SECOND)
            });
        });
        assert_eq!(signals.get(Signal::Parallel), Some(0.0));
        assert_eq!(signals.get(Signal::Contended), Some(0.0));
        assert_eq!(signals.get(Signal::Cpu), Some(1.0));
    }

    #[test]
    fn what_auto_ext_does_itself_hides_no_others_that_wait() {
        let signals = with(|sample| {
            sample.kernel.own_us = Some(400_000);
            sample.sched = Some(SchedTotals {
                wait_ns: 4 * SECOND,
                contended_ns: SECOND,
                cores: 4,
                ..busy(SECOND * 14 / 10)
            });
        });
        assert_eq!(signals.get(Signal::Contended), Some(0.75));
    }

    #[test]
    fn tasks_wait_for_the_cpus_in_use_however_many_others_there_are() {
        for cpus in [8, 128] {
            let sched = SchedTotals {
                wait_ns: 16 * SECOND,
                contended_ns: 8 * SECOND,
                ..busy(8 * SECOND)
            };
            let signals = signals_of_one_second(cpus, sched);
            assert_eq!(signals.get(Signal::Parallel), Some(2.0));
            assert_eq!(signals.get(Signal::Contended), Some(1.0));
        }
        // A moment of waiting on a machine that hardly works is none.
        let sched = SchedTotals {
            wait_ns: SECOND / 100,
            contended_ns: SECOND / 100,
            ..busy(SECOND / 50)
        };
        let signals = signals_of_one_second(8, sched);
        assert_eq!(signals.get(Signal::Parallel), Some(0.01));
        assert_eq!(signals.get(Signal::Contended), Some(0.01));
    }

    #[test]
    fn a_rhythm_counts_beside_hogs_and_does_not_grow_with_the_machine() {
        for cpus in [2, 128] {
            let sched = SchedTotals {
                timed_ns: SECOND * 8 / 100,
                ..busy(u64::from(cpus) * SECOND)
            };
            let interactive = signals_of_one_second(cpus, sched).get(Signal::Interactive);
            assert_eq!(interactive, Some(0.8));
        }
    }

    #[test]
    fn short_bursts_that_no_timer_brings_count_beside_idle_cpus_or_when_they_are_brief() {
        let interactive = |busy_ns, short_bursts| {
            let sched = SchedTotals {
                short_ns: SECOND / 10,
                short_bursts,
                ..busy(busy_ns)
            };
            let signals = signals_of_one_second(4, sched);
            signals.get(Signal::Interactive).unwrap() / WOKEN_BY_OTHERS
        };
        let is = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value}");
        is(interactive(SECOND, 50), 0.75);
        // A pool that meets at a barrier, and tasks that pass messages.
        is(interactive(4 * SECOND, 50), 0.0);
        is(interactive(4 * SECOND, 10_000), 0.98);
    }

    #[test]
    fn short_bursts_of_servers_are_not_interactive() {
        let signals = with(|sample| {
            sample.sched = Some(SchedTotals {
                short_ns: SECOND,
                cores: 4,
                ..busy(SECOND)
            });
            sample.softirq = Some(SoftirqTotals {
                net_ns: SECOND / 5,
                net_runs: 1,
            });
        });
        assert_eq!(signals.get(Signal::Interactive), Some(0.0));
    }

    #[test]
    fn io_is_where_somebody_waits_for_requests_in_flight() {
        let io = |psi_io_us: u64, foreground_ns: u64, flight_ns: u64| {
            let signals = with(|sample| {
                sample.kernel.psi_io_us = Some(psi_io_us);
                sample.block = Some(BlockTotals {
                    foreground_ns,
                    flight_ns,
                    ..BlockTotals::default()
                });
            });
            signals.get(Signal::Io).unwrap()
        };
        assert_eq!(io(900_000, 800_000_000, 800_000_000), 0.8, "reads");
        assert_eq!(io(900_000, 0, 0), 0.0, "a waiter, or one that is throttled");
        assert_eq!(io(0, 0, 0), 0.0, "a backup at idle priority");
        // 64 queues of a fast disk, each with a request for half a percent of the time.
        assert!(io(10_000, 320_000_000, 320_000_000) < 0.1, "many queues");
        assert_eq!(io(0, SECOND, 32 * SECOND), 1.0, "asynchronous reads");
    }

    #[test]
    fn memory_is_not_what_programs_fault_in_as_they_start_nor_a_limit() {
        let mem = |faults, start_faults, psi_memory_us, reclaimed_pages| {
            let signals = with(|sample| {
                sample.kernel.faults = Some(faults);
                sample.kernel.start_faults = Some(start_faults);
                sample.kernel.psi_memory_us = Some(psi_memory_us);
                sample.kernel.reclaimed_pages = Some(reclaimed_pages);
            });
            signals.get(Signal::Mem).unwrap()
        };
        assert_eq!(
            mem(400_000, 0, 0, 0),
            0.2,
            "memory that is mapped and touched"
        );
        assert_eq!(mem(400_000, 400_000, 0, 0), 0.0, "a build");
        assert_eq!(mem(0, 0, 700_000, 0), 0.0, "a cgroup at its limit");
        assert_eq!(mem(0, 0, 700_000, 5000), 0.7, "memory runs short");
    }

    #[test]
    fn counters_that_cannot_be_make_no_signals() {
        let before = sample(4, SECOND, SchedTotals::default());
        let signals = |busy_ns| {
            let after = sample(4, 2 * SECOND, busy(busy_ns));
            Signals::between(&before, &after, &MACHINE)
        };
        assert!(signals(4 * SECOND + SECOND / 20).is_some());
        assert_eq!(signals(4 * SECOND + SECOND / 10), None);
    }

    #[test]
    fn what_is_not_measured_is_none_and_not_zero() {
        let before = Sample {
            at_ns: SECOND,
            cpus: 4,
            ..Sample::default()
        };
        let after = Sample {
            at_ns: 2 * SECOND,
            ..before
        };
        let signals = Signals::between(&before, &after, &MACHINE).unwrap();
        assert!(signals.iter().all(|(_, value)| value.is_none()));
    }

    #[test]
    fn no_time_gives_no_signals() {
        let one = sample(4, SECOND, SchedTotals::default());
        assert_eq!(Signals::between(&one, &one, &MACHINE), None);
    }

    proptest! {
        #[test]
        fn every_share_stays_one_and_no_amount_is_negative(
            cpus in 0u32..256, window in 1u64..1_000_000_000_000, busy in 0u64..=100, parts: [u64; 6], net_ns: u64,
            faults: u64,
        ) {
            let before = sample(cpus, 0, SchedTotals::default());
            let busy_ns = busy * (window * u64::from(cpus) / 100);
            let [stolen_ns, core_ns, wait_ns, contended_ns, short_ns, timed_ns] = parts;
            let mut after = sample(
                cpus,
                window,
                SchedTotals {
                    busy_ns, stolen_ns, core_ns, wait_ns, contended_ns, short_ns, timed_ns, ..Default::default()
                },
            );
            after.softirq = Some(SoftirqTotals { net_ns, net_runs: 1 });
            after.reclaim = Some(ReclaimTotals { task_ns: net_ns });
            after.block = Some(BlockTotals { foreground_ns: net_ns, flight_ns: wait_ns, ..Default::default() });
            after.kernel.faults = Some(faults);
            let before = Sample {
                softirq: Some(SoftirqTotals::default()),
                reclaim: Some(ReclaimTotals::default()),
                block: Some(BlockTotals::default()),
                kernel: KernelTotals { faults: Some(0), ..KernelTotals::default() },
                ..before
            };
            let signals = Signals::between(&before, &after, &MACHINE).unwrap();
            for (signal, value) in signals.iter() {
                if let Some(value) = value {
                    prop_assert!(value.is_finite() && value >= 0.0);
                    prop_assert!(!signal.is_share() || value <= 1.0, "{signal} {value}");
                }
            }
        }
    }
}
