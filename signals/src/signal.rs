//! The six signals, and how two samples become one set of them. Pure: no clock, no I/O.
//!
//! Every signal but `parallel` is a share between 0 and 1, so that one threshold fits a laptop and
//! a 128-CPU server. `net`, `mem` and `interactive` are shares of the CPU time that was *used*:
//! one saturated stream is as much a network load on 128 CPUs as on two. Where little CPU time is
//! used they fade to zero, so that neither the timers of an idle machine nor a quiet download count.
//! What auto-ext uses itself, to load a scheduler for example, is no part of the load.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sample::{Machine, Sample};

/// One measured property of what the machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Share of the time of all CPUs in which they were not idle, 0 to 1.
    Cpu,
    /// Tasks waiting for a CPU, less one, per CPU, from 0 up. One is left out because beside tasks that compute a
    /// kernel thread of low priority, such as khugepaged, can wait for seconds.
    Parallel,
    /// Share of the window in which a block request was in flight or a task stalled on IO, or of the
    /// used CPU time that writing files took, 0 to 1.
    Io,
    /// Share of the used CPU time that the network took: its softirqs, and the copying of what was
    /// sent and received, 0 to 1.
    Net,
    /// Share of the used CPU time that page faults took, or of the window in which a task was freeing
    /// memory or stalled on it, 0 to 1.
    Mem,
    /// Share of the used CPU time that was spent in short bursts that ended in sleep, 0 to 1.
    Interactive,
}

impl Signal {
    /// Every signal, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Cpu,
        Self::Parallel,
        Self::Io,
        Self::Net,
        Self::Mem,
        Self::Interactive,
    ];

    /// The name in policies, on D-Bus and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Parallel => "parallel",
            Self::Io => "io",
            Self::Net => "net",
            Self::Mem => "mem",
            Self::Interactive => "interactive",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.name() == name)
            .ok_or_else(|| format!("`{name}` is not a signal"))
    }
}

/// The value of each signal over one window; `None` where it could not be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signals([Option<f64>; Signal::ALL.len()]);

/// The least CPU time in use with which `interactive` can reach 1, in CPUs of a recent machine. It is low, as people notice
/// delays on a machine that does little.
const INTERACTIVE_FLOOR: f64 = 0.25;
/// Its greatest value, as a share of the CPUs.
const INTERACTIVE_FLOOR_SHARE: f64 = 0.5;
/// The same for `net`, `mem` and the writing of files, where throughput matters only when it takes a whole CPU.
const THROUGHPUT_FLOOR: f64 = 1.0;
/// The least value of both on large machines, whose background work grows with them, as a share of the CPUs.
const FLOOR_SHARE: f64 = 0.01;

/// CPU time of writing one page through the page cache, in page faults: both take a page from the
/// allocator and fill it; the file system comes on top, in the writer and in the flusher. Measured
/// with ext4: 1.7 on a fast machine (2 us and 1.15 us), 3.5 in an emulated one.
const DIRTIED_PAGE_FAULTS: f64 = 3.0;

impl Signals {
    /// The value of `signal`.
    #[must_use]
    pub fn get(&self, signal: Signal) -> Option<f64> {
        self.0[signal as usize]
    }

    /// Sets the value of `signal`.
    pub fn set(&mut self, signal: Signal, value: Option<f64>) {
        self.0[signal as usize] = value;
    }

    /// Each signal with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Signal, Option<f64>)> + '_ {
        Signal::ALL
            .into_iter()
            .map(|signal| (signal, self.get(signal)))
    }

    /// The signals of the window from `before` to `after`, or `None` when no time passed.
    ///
    /// Counters that seem to run backwards (they are read while they are written) count as zero.
    #[must_use]
    pub fn between(before: &Sample, after: &Sample, machine: &Machine) -> Option<Self> {
        let window = after.at_ns.checked_sub(before.at_ns).filter(|ns| *ns > 0)? as f64;
        let cpus = f64::from(after.cpus.max(1));
        let sched = delta(&before.sched, &after.sched);
        let own = delta(&before.kernel.own_us, &after.kernel.own_us)
            .map_or(0.0, |(b, a)| grown(b, a) * 1000.0);
        let busy = sched.map(|(b, a)| (grown(b.busy_ns, a.busy_ns) - own).max(0.0));
        let used = |floor: f64| {
            busy.unwrap_or(0.0)
                .max(floor.max(FLOOR_SHARE * cpus) * window)
        };
        let throughput = used(THROUGHPUT_FLOOR);
        let interactive_floor = (INTERACTIVE_FLOOR * machine.slowness())
            .min(THROUGHPUT_FLOOR)
            .min(INTERACTIVE_FLOOR_SHARE * cpus);
        let stalled = |before: Option<u64>, after: Option<u64>| {
            delta(&before, &after).map(|(b, a)| share(grown(b, a) * 1000.0, window))
        };

        let mut signals = Self::default();
        signals.set(Signal::Cpu, busy.map(|busy| share(busy, cpus * window)));
        signals.set(
            Signal::Parallel,
            sched.map(|(b, a)| (grown(b.wait_ns, a.wait_ns) / window - 1.0).max(0.0) / cpus),
        );
        signals.set(
            Signal::Interactive,
            sched.map(|(b, a)| share(grown(b.short_ns, a.short_ns), used(interactive_floor))),
        );
        // Buffered writes keep the machine busy with IO long before the first request is issued.
        let dirtied =
            delta(&before.kernel.dirtied_pages, &after.kernel.dirtied_pages).map(|(b, a)| {
                share(
                    grown(b, a) * machine.fault_ns * DIRTIED_PAGE_FAULTS,
                    throughput,
                )
            });
        let in_flight = delta(&before.block, &after.block)
            .map(|(b, a)| share(grown(b.busy_ns, a.busy_ns), window));
        let stalled_on_io = stalled(before.kernel.psi_io_us, after.kernel.psi_io_us);
        signals.set(Signal::Io, greatest([in_flight, dirtied, stalled_on_io]));
        let copied = delta(&before.kernel.net_bytes, &after.kernel.net_bytes)
            .map_or(0.0, |(b, a)| grown(b, a) * machine.byte_ns());
        signals.set(
            Signal::Net,
            delta(&before.softirq, &after.softirq)
                .map(|(b, a)| share(grown(b.net_ns, a.net_ns) + copied, throughput)),
        );
        let faulting = delta(&before.kernel.faults, &after.kernel.faults).map(|(b, a)| {
            let huge = delta(&before.kernel.huge_faults, &after.kernel.huge_faults)
                .map_or(0.0, |(b, a)| grown(b, a) * machine.huge_fault_ns);
            share(grown(b, a) * machine.fault_ns + huge, throughput)
        });
        let reclaiming = delta(&before.reclaim, &after.reclaim)
            .map(|(b, a)| share(grown(b.task_ns, a.task_ns), window));
        let stalled_on_memory = stalled(before.kernel.psi_memory_us, after.kernel.psi_memory_us);
        signals.set(
            Signal::Mem,
            greatest([faulting, reclaiming, stalled_on_memory]),
        );
        Some(signals)
    }
}

/// As a map from each signal's name to its value or null.
impl Serialize for Signals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// From such a map. What it leaves out was not measured, names that are no signals are ignored, and
/// values are taken as they are.
impl<'de> Deserialize<'de> for Signals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
        Ok(Self(Signal::ALL.map(|signal| {
            values.get(signal.name()).copied().flatten()
        })))
    }
}

/// Both readings, where both were taken.
fn delta<T: Copy>(before: &Option<T>, after: &Option<T>) -> Option<(T, T)> {
    (*before).zip(*after)
}

/// The greatest of several measures of the same thing, as far as they could be taken.
fn greatest(ways: [Option<f64>; 3]) -> Option<f64> {
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
    use crate::sample::{KernelTotals, ReclaimTotals, SchedTotals, SoftirqTotals};

    const SECOND: u64 = 1_000_000_000;
    const MACHINE: Machine = Machine {
        fault_ns: 500.0,
        huge_fault_ns: 100_000.0,
    };

    fn sample(cpus: u32, at_ns: u64, sched: SchedTotals) -> Sample {
        Sample {
            at_ns,
            cpus,
            sched: Some(sched),
            ..Sample::default()
        }
    }

    fn signals_of_one_second(cpus: u32, sched: SchedTotals) -> Signals {
        let before = sample(cpus, SECOND, SchedTotals::default());
        let after = sample(cpus, 2 * SECOND, sched);
        Signals::between(&before, &after, &MACHINE).unwrap()
    }

    #[test]
    fn one_hog_per_cpu_is_all_of_the_cpu_on_one_cpu_and_on_128() {
        for cpus in [1, 128] {
            let busy_ns = u64::from(cpus) * SECOND;
            let signals = signals_of_one_second(
                cpus,
                SchedTotals {
                    busy_ns,
                    ..Default::default()
                },
            );
            assert_eq!(signals.get(Signal::Cpu), Some(1.0));
            assert_eq!(signals.get(Signal::Parallel), Some(0.0));
        }
    }

    #[test]
    fn what_auto_ext_uses_itself_is_no_load() {
        let own = |us| KernelTotals {
            own_us: us,
            ..KernelTotals::default()
        };
        let busy = |ns| SchedTotals {
            busy_ns: ns,
            ..SchedTotals::default()
        };
        let mut before = sample(4, SECOND, busy(0));
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
    fn tasks_waiting_are_counted_per_cpu() {
        let signals = signals_of_one_second(
            4,
            SchedTotals {
                wait_ns: 20 * SECOND,
                ..Default::default()
            },
        );
        assert_eq!(signals.get(Signal::Parallel), Some(4.75));
    }

    #[test]
    fn the_timers_of_an_idle_machine_are_not_interactive() {
        let short_ns = SECOND / 50;
        let timers = SchedTotals {
            busy_ns: short_ns,
            short_ns,
            ..Default::default()
        };
        assert!(
            signals_of_one_second(4, timers)
                .get(Signal::Interactive)
                .unwrap()
                < 0.1
        );
    }

    #[test]
    fn many_short_bursts_are_interactive() {
        let short_ns = SECOND / 2;
        let bursts = SchedTotals {
            busy_ns: short_ns,
            short_ns,
            ..Default::default()
        };
        assert_eq!(
            signals_of_one_second(4, bursts).get(Signal::Interactive),
            Some(1.0)
        );
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
        fn every_signal_but_parallel_stays_a_share(
            cpus in 0u32..256, window in 1u64..1_000_000_000_000, busy_ns: u64, wait_ns: u64,
            short_ns: u64, net_ns: u64, faults: u64,
        ) {
            let before = sample(cpus, 0, SchedTotals::default());
            let mut after = sample(
                cpus, window, SchedTotals { busy_ns, wait_ns, short_ns, ..Default::default() },
            );
            after.softirq = Some(SoftirqTotals { net_ns, net_runs: 1 });
            after.reclaim = Some(ReclaimTotals { task_ns: net_ns });
            after.kernel.faults = Some(faults);
            let before = Sample {
                softirq: Some(SoftirqTotals::default()),
                reclaim: Some(ReclaimTotals::default()),
                kernel: KernelTotals { faults: Some(0), ..KernelTotals::default() },
                ..before
            };
            let signals = Signals::between(&before, &after, &MACHINE).unwrap();
            for (signal, value) in signals.iter() {
                if let Some(value) = value {
                    prop_assert!(value.is_finite() && value >= 0.0);
                    prop_assert!(signal == Signal::Parallel || value <= 1.0);
                }
            }
        }
    }
}
