//! Attaches the BPF programs and reads their counters. Owns everything that profiling holds in the
//! kernel; dropping it detaches all.
//!
//! Each program stands alone: one that this kernel does not take leaves its signals unmeasured, with
//! the reason in [`Profiler::missing`], and the others work.

use std::path::Path;
use std::time::Duration;

use auto_ext_profiler_abi::{
    BlockCounters, OFFSETS, OPTIONAL_OFFSETS, ReclaimCounters, SHORT_BURST_NS, SchedCounters,
    SoftirqCounters, map,
};
use auto_ext_service::kernel_types::KernelTypes;
use aya::maps::{MapData, PerCpuArray};
use aya::{Ebpf, EbpfLoader, Pod};
use nix::time::{ClockId, clock_gettime};

use crate::btf;
use crate::calibrate;
use crate::object::{self, AttachError};
use crate::proc::ProcReader;
use auto_ext_signals::Signal;
use auto_ext_signals::{BlockTotals, Machine, ReclaimTotals, Sample, SchedTotals, SoftirqTotals};

/// Each map with the programs that fill it and the signals that need it.
const PROFILERS: [(&str, &[&str], &[Signal]); 4] = [
    (
        map::SCHED,
        &["cpu_idle", "hrtimer_expire_entry"],
        &[Signal::Cpu, Signal::Parallel, Signal::Interactive],
    ),
    (map::BLOCK, &["block_rq_complete"], &[Signal::Io]),
    (
        map::SOFTIRQ,
        &["softirq_entry", "softirq_exit"],
        &[Signal::Net],
    ),
    (
        map::RECLAIM,
        &[
            "mm_vmscan_direct_reclaim_begin",
            "mm_vmscan_direct_reclaim_end",
        ],
        &[Signal::Mem],
    ),
];

/// The attached BPF programs.
pub struct Profiler {
    // Holds the programs' links.
    _ebpf: Option<Ebpf>,
    sched: Option<PerCpuArray<MapData, SchedCounters>>,
    block: Option<PerCpuArray<MapData, BlockCounters>>,
    softirq: Option<PerCpuArray<MapData, SoftirqCounters>>,
    reclaim: Option<PerCpuArray<MapData, ReclaimCounters>>,
    proc: ProcReader,
    machine: Machine,
    missing: Vec<(Signal, String)>,
}

impl Profiler {
    /// Loads and attaches every program that this kernel takes.
    ///
    /// # Errors
    /// When none can be: no BTF, no permission, or an object the kernel refuses as a whole.
    pub fn attach() -> Result<Self, AttachError> {
        let types = btf::kernel_types()?;
        let (offsets, missing_offset) = offsets(&types);
        let tracepoints = btf::of_tracepoints(&types)?;
        drop(types);
        let machine = calibrate::measure();
        let short_burst_ns = short_burst_ns(&machine);
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&tracepoints));
        for ((global, ..), offset) in OFFSETS.iter().zip(&offsets) {
            loader.override_global(global, offset, true);
        }
        loader.override_global("SHORT_BURST_NS", &short_burst_ns, true);
        let mut ebpf = object::load(&mut loader)?;

        let mut missing = Vec::new();
        for (map, programs, signals) in PROFILERS {
            let attached = match &missing_offset {
                Some((maps, reason)) if maps.contains(&map) => Err(reason.clone()),
                _ => programs
                    .iter()
                    .try_for_each(|name| object::attach(&mut ebpf, name, &tracepoints)),
            };
            if let Err(reason) = attached {
                missing.extend(signals.iter().map(|signal| (*signal, reason.clone())));
            }
        }
        if missing.len() == Signal::ALL.len() {
            return Err(AttachError::Object(missing.swap_remove(0).1));
        }
        let profiler = Self {
            sched: take(&mut ebpf, map::SCHED, &missing, Signal::Cpu)?,
            block: take(&mut ebpf, map::BLOCK, &missing, Signal::Io)?,
            softirq: take(&mut ebpf, map::SOFTIRQ, &missing, Signal::Net)?,
            reclaim: take(&mut ebpf, map::RECLAIM, &missing, Signal::Mem)?,
            _ebpf: Some(ebpf),
            proc: ProcReader::new(Path::new("/")),
            machine,
            missing,
        };
        drop(tracepoints);
        object::give_back_memory();
        Ok(profiler)
    }

    /// One without any program, for where [`attach`](Self::attach) failed: it has what the kernel
    /// counts anyway, and says of every signal why its program is missing.
    #[must_use]
    pub fn detached(error: &AttachError) -> Self {
        let missing = Signal::ALL.map(|signal| (signal, error.to_string()));
        Self {
            _ebpf: None,
            sched: None,
            block: None,
            softirq: None,
            reclaim: None,
            proc: ProcReader::new(Path::new("/")),
            machine: calibrate::measure(),
            missing: missing.into(),
        }
    }

    /// What was measured about the machine once.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// From now on the CPU time of what is in this cgroup is not part of any load: it is auto-ext's
    /// own, and that of the schedulers it starts.
    pub fn leave_out(&mut self, cgroup: &Path) {
        self.proc.own(cgroup);
    }

    /// The signals whose BPF program could not be attached, with the reason. What the kernel
    /// counts anyway still measures some of them in part.
    #[must_use]
    pub fn missing(&self) -> &[(Signal, String)] {
        &self.missing
    }

    /// Reads all counters.
    #[must_use]
    pub fn sample(&self) -> Sample {
        let at_ns = monotonic_ns();
        let online = self.proc.online_cpus();
        Sample {
            at_ns,
            cpus: u32::try_from(online.len()).unwrap_or(u32::MAX).max(1),
            sched: totals(
                self.sched.as_ref(),
                |total: &mut SchedTotals, number, cpu| {
                    // One that went offline busy stays so in its counters.
                    let still = if cpu.busy != 0 && online.contains(&number) {
                        at_ns.saturating_sub(cpu.until)
                    } else {
                        0
                    };
                    total.busy_ns += cpu.busy_ns + still;
                    total.wait_ns += cpu.wait_ns;
                    total.short_ns += cpu.short_ns;
                    total.short_bursts += cpu.short_bursts;
                },
            ),
            block: totals(self.block.as_ref(), |total: &mut BlockTotals, _, cpu| {
                total.busy_ns += cpu.busy_ns;
                total.requests += cpu.requests;
                total.bytes += cpu.bytes;
            }),
            softirq: totals(
                self.softirq.as_ref(),
                |total: &mut SoftirqTotals, _, cpu| {
                    total.net_ns += cpu.net_ns;
                    total.net_runs += cpu.net_runs;
                },
            ),
            reclaim: totals(
                self.reclaim.as_ref(),
                |total: &mut ReclaimTotals, _, cpu| {
                    let still = cpu.active.wrapping_mul(at_ns);
                    total.task_ns = total.task_ns.wrapping_add(cpu.task_ns).wrapping_add(still);
                },
            ),
            kernel: self.proc.read(),
        }
    }
}

/// The maps that have to do without an offset that this kernel does not have, and why.
type MissingOffset = (&'static [&'static str], String);

/// The offsets in the order of [`OFFSETS`].
fn offsets(types: &KernelTypes) -> ([u64; OFFSETS.len()], Option<MissingOffset>) {
    let mut offsets = [0; OFFSETS.len()];
    let mut missing: Option<MissingOffset> = None;
    for (slot, (_, structure, path)) in offsets.iter_mut().zip(OFFSETS) {
        let stand_in = OPTIONAL_OFFSETS
            .iter()
            .find(|(optional, _)| *optional == path);
        let found = btf::offset(types, structure, path).or_else(|error| match stand_in {
            Some((_, stand_in)) => btf::offset(types, structure, stand_in),
            None => Err(error),
        });
        match found {
            Ok(offset) => *slot = offset,
            Err(error) => {
                let of: &[&str] = if structure == "request" {
                    &[map::BLOCK]
                } else {
                    &[map::SCHED]
                };
                let all = missing.as_ref().is_some_and(|(maps, _)| *maps != of);
                missing = Some((
                    if all { &[map::SCHED, map::BLOCK] } else { of },
                    error.to_string(),
                ));
            }
        }
    }
    (offsets, missing)
}

/// The map called `name`, unless `signal` is missing.
fn take<T: Pod>(
    ebpf: &mut Ebpf,
    name: &str,
    missing: &[(Signal, String)],
    signal: Signal,
) -> Result<Option<PerCpuArray<MapData, T>>, AttachError> {
    if missing.iter().any(|(missing, _)| *missing == signal) {
        return Ok(None);
    }
    object::take(ebpf, name).map(Some)
}

/// Adds up the counters of all CPUs, which are numbered from 0; `None` when they cannot be read.
fn totals<C: Pod, T: Default>(
    map: Option<&PerCpuArray<MapData, C>>,
    add: impl Fn(&mut T, u32, &C),
) -> Option<T> {
    let cpus = map?.get(&0, 0).ok()?;
    let mut total = T::default();
    for (number, cpu) in (0..).zip(cpus.iter()) {
        add(&mut total, number, cpu);
    }
    Some(total)
}

/// What counts as a short burst on this machine: the same amount of work on any.
fn short_burst_ns(machine: &Machine) -> u64 {
    let burst = Duration::from_nanos(SHORT_BURST_NS).mul_f64(machine.slowness());
    u64::try_from(burst.as_nanos()).unwrap_or(SHORT_BURST_NS)
}

fn monotonic_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
        .expect("CLOCK_MONOTONIC exists on every Linux and the argument is valid")
}
