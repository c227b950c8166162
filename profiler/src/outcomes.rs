//! Measures what the scheduler that runs makes of tasks that sleep: attaches the BPF programs at `sched_waking` and
//! `sched_switch`, and reads their counters. They are there as long as an [`Outcomes`] is, and no longer: every switch of a task
//! feels them.

use auto_ext_profiler_abi::{
    LONGEST_WAIT_OFFSETS, NOBODY, OUTCOME_OFFSETS, OutcomeCounters, WAIT_BUCKETS, map, shortest_of,
};
use auto_ext_signals::{OutcomeTotals, WaitBucket};
use aya::maps::{MapData, PerCpuArray};
use aya::{Btf, Ebpf};

use crate::btf;
use crate::clock::monotonic_ns;
use crate::longest_wait::{self, LongestWait};
use crate::object::{self, AttachError};

/// Switches first: who is woken before they are seen has no place yet.
const PROGRAMS: [&str; 2] = ["sched_switch", "sched_waking"];

/// Whom outcomes are not about, beside the calling process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Those that it started itself.
    OwnChildren,
    /// The process with this number, if any, such as the scheduler's. Those that the caller started count.
    Process(Option<u32>),
}

/// What attaching asks the kernel's types for, so that they are read once however often something is measured.
pub struct OutcomesLoader {
    types: Btf,
    offsets: [u64; OUTCOME_OFFSETS.len()],
    // Nothing else is missing where this is.
    longest_wait: Result<longest_wait::Offsets, AttachError>,
}

/// The attached BPF programs; dropping it detaches them.
pub struct Outcomes {
    // Holds the programs' links.
    _ebpf: Ebpf,
    counters: PerCpuArray<MapData, OutcomeCounters>,
}

impl OutcomesLoader {
    /// Reads the kernel's types, which takes most of the 200 ms until outcomes are measured.
    ///
    /// # Errors
    /// When the kernel does not tell them, or lacks what is asked for.
    pub fn new() -> Result<Self, AttachError> {
        let types = btf::kernel_types()?;
        let offsets = btf::offsets(&types, &OUTCOME_OFFSETS)?;
        let longest_wait = btf::offsets(&types, &LONGEST_WAIT_OFFSETS);
        let attachable = btf::of_tracepoints_and(types, &[longest_wait::ITERATOR])?;
        object::give_back_memory();
        Ok(Self {
            types: attachable,
            offsets,
            longest_wait,
        })
    }

    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// When the kernel does not take both of them.
    pub fn attach(&self, left_out: LeftOut) -> Result<Outcomes, AttachError> {
        let own = std::process::id();
        let (other, parent) = match left_out {
            LeftOut::OwnChildren => (NOBODY, own),
            LeftOut::Process(other) => (other.unwrap_or(NOBODY), NOBODY),
        };
        let mut loader = object::loader();
        loader.btf(Some(&self.types));
        for ((global, ..), offset) in OUTCOME_OFFSETS.iter().zip(&self.offsets) {
            loader.override_global(global, offset, true);
        }
        loader.override_global("OWN_PROCESS", &own, true);
        loader.override_global("OTHER_PROCESS", &other, true);
        loader.override_global("PARENT", &parent, true);
        let mut ebpf = object::load(&mut loader, object::OUTCOMES)?;
        for program in PROGRAMS {
            object::attach(&mut ebpf, program, &self.types).map_err(AttachError::Object)?;
        }
        Ok(Outcomes {
            counters: object::take(&mut ebpf, map::OUTCOMES)?,
            _ebpf: ebpf,
        })
    }

    /// Loads what looks for the longest wait, which costs nothing but while it does.
    ///
    /// # Errors
    /// When the kernel does not say since when a task waits, or does not take the program.
    pub fn longest_wait(&self) -> Result<LongestWait, AttachError> {
        match &self.longest_wait {
            Ok(offsets) => LongestWait::load(&self.types, offsets),
            Err(error) => Err(AttachError::Object(error.to_string())),
        }
    }
}

impl Outcomes {
    /// Attaches the programs to measure once.
    ///
    /// # Errors
    /// When the kernel does not take both of them.
    pub fn attach(left_out: LeftOut) -> Result<Self, AttachError> {
        OutcomesLoader::new()?.attach(left_out)
    }

    /// The totals since the programs were attached; `None` when they cannot be read.
    #[must_use]
    pub fn read(&self) -> Option<OutcomeTotals> {
        let at_ns = monotonic_ns();
        let cpus = self.counters.get(&0, 0).ok()?;
        Some(totals(at_ns, cpus.iter()))
    }
}

pub(crate) fn totals<'c>(
    at_ns: u64,
    cpus: impl Iterator<Item = &'c OutcomeCounters>,
) -> OutcomeTotals {
    let empty = |bucket| WaitBucket {
        from_ns: shortest_of(bucket),
        to_ns: shortest_of(bucket + 1),
        count: 0,
    };
    let mut totals = OutcomeTotals {
        at_ns,
        waits: (0..WAIT_BUCKETS).map(empty).collect(),
        ..OutcomeTotals::default()
    };
    for cpu in cpus {
        for (bucket, count) in totals.waits.iter_mut().zip(cpu.waits) {
            bucket.count += count;
        }
        totals.wait_ns += cpu.wait_ns;
        totals.long_waits += cpu.long_waits;
        totals.burst_ns += cpu.burst_ns;
        totals.held_up_ns += cpu.held_up_ns;
    }
    totals
}

#[cfg(test)]
mod tests {
    use auto_ext_profiler_abi::bucket_of;
    use auto_ext_signals::Outcome;

    use super::*;

    #[test]
    fn totals_are_of_all_cpus() {
        let cpu = |wait_ns: u64| {
            let mut cpu = OutcomeCounters {
                wait_ns,
                burst_ns: 1000,
                held_up_ns: wait_ns,
                ..OutcomeCounters::default()
            };
            cpu.waits[bucket_of(wait_ns)] = 1;
            cpu
        };
        let before = totals(0, [OutcomeCounters::default(); 2].iter());
        let after = totals(1_000_000_000, [cpu(3_000), cpu(5_000)].iter());
        let outcome = Outcome::between(&before, &after).expect("time passed");
        let waits = outcome.waits.expect("there are two");
        assert!((outcome.wakes_per_second - 2.0).abs() < 1e-9);
        assert!((waits.mean_ns - 4_000.0).abs() < 1e-9);
        assert!((waits.p50_ns - 3_000.0).abs() < 300.0, "{waits:?}");
        assert!((waits.p99_ns - 5_000.0).abs() < 300.0, "{waits:?}");
        assert_eq!(outcome.stretch, Some(5.0));
    }
}
