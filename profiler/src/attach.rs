//! Attaches the BPF programs and reads their counters. Owns everything that profiling holds in the
//! kernel; dropping it detaches all.
//!
//! Each program stands alone: one that this kernel does not take leaves its signals unmeasured, with
//! the reason in [`Profiler::missing`], and the others work.

use std::path::Path;
use std::thread;
use std::time::Duration;

use auto_ext_profiler_abi::{
    ABSENT, BlockCounters, OFFSETS, OPTIONAL_OFFSETS, ReclaimCounters, SHORT_BURST_NS,
    SchedCounters, SoftirqCounters, StartCounters, map,
};
use auto_ext_service::kernel_types::KernelTypes;
use aya::maps::{Array, MapData, PerCpuArray};
use aya::{Ebpf, Pod};
use nix::unistd::gettid;

use crate::bpf_log::BpfLog;
use crate::btf;
use crate::calibrate::Calibration;
use crate::clock::monotonic_ns;
use crate::cpus::Cpus;
use crate::object::{self, AttachError};
use crate::proc::ProcReader;
use crate::reclaim::{Reclaim, Sum};
use crate::starts::{Faults, Starts};
use auto_ext_signals::Signal;
use auto_ext_signals::{BlockTotals, Machine, Sample, SoftirqTotals};

/// Each map with the programs that fill it and the signals that need it.
const PROFILERS: [(&str, &[&str], &[Signal]); 4] = [
    (
        map::SCHED,
        &["cpu_idle", "hrtimer_expire_entry", "irq_handler_entry"],
        &[
            Signal::Cpu,
            Signal::Parallel,
            Signal::Contended,
            Signal::Interactive,
        ],
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
    log: BpfLog,
    sched: Option<PerCpuArray<MapData, SchedCounters>>,
    block: Option<PerCpuArray<MapData, BlockCounters>>,
    softirq: Option<PerCpuArray<MapData, SoftirqCounters>>,
    reclaim: Option<PerCpuArray<MapData, ReclaimCounters>>,
    starts: Option<PerCpuArray<MapData, StartCounters>>,
    proc: ProcReader,
    calibration: Calibration,
    cpus: Cpus,
    reclaimed: Reclaim,
    start_faults: Starts,
    /// How long the quickest reading of all counters took.
    quickest_ns: u64,
    missing: Vec<(Signal, String)>,
}

/// The programs that count what starts, each with its tracepoint.
const STARTS: [(&str, &str); 2] = [
    ("count_forks", "sched_process_fork"),
    ("count_programs", "sched_process_exec"),
];

/// How long reading all counters may take; else they are of different moments.
const TOGETHER_NS: u64 = 2_000_000;
/// How often they are read, at most, until they are of one moment.
const READS: usize = 4;

/// What was read at about one moment.
struct Reading {
    at_ns: u64,
    sched: Option<Vec<SchedCounters>>,
    reclaim: Option<Sum>,
    starts: Option<StartCounters>,
    sample: Sample,
}

impl Profiler {
    /// Loads and attaches every program that this kernel takes.
    ///
    /// # Errors
    /// When none can be: no BTF, no permission, or an object the kernel refuses as a whole.
    pub fn attach() -> Result<Self, AttachError> {
        let mut loader = object::loader();
        let types = btf::kernel_types()?;
        let (offsets, missing_offset) = offsets(&types);
        let tracepoints = btf::of_tracepoints(types)?;
        let calibration = Calibration::new(monotonic_ns());
        let short_burst_ns = short_burst_ns(calibration.machine());
        let sleeper = gettid().as_raw().cast_unsigned();
        loader.btf(Some(&tracepoints));
        for ((global, ..), offset) in OFFSETS.iter().zip(&offsets) {
            loader.override_global(global, offset, true);
        }
        loader.override_global("SHORT_BURST", &short_burst_ns, true);
        loader.override_global("KNOWN_SLEEPER", &sleeper, true);
        let mut ebpf = object::load(&mut loader, object::PROFILER)?;

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
        // Without it, what programs fault in as they start is taken for a load of memory.
        let starts = STARTS.iter().try_for_each(|(name, tracepoint)| {
            object::attach_to(&mut ebpf, name, tracepoint, &tracepoints)
        });
        if !missing
            .iter()
            .any(|(signal, _)| *signal == Signal::Interactive)
        {
            sleep_once(&mut ebpf)?;
        }
        let profiler = Self {
            sched: take(&mut ebpf, map::SCHED, &missing, Signal::Cpu)?,
            block: take(&mut ebpf, map::BLOCK, &missing, Signal::Io)?,
            softirq: take(&mut ebpf, map::SOFTIRQ, &missing, Signal::Net)?,
            reclaim: take(&mut ebpf, map::RECLAIM, &missing, Signal::Mem)?,
            starts: match starts {
                Ok(()) => Some(object::take(&mut ebpf, map::STARTS)?),
                Err(_) => None,
            },
            log: BpfLog::of(&mut ebpf),
            _ebpf: Some(ebpf),
            proc: ProcReader::new(Path::new("/")),
            calibration,
            cpus: Cpus::default(),
            reclaimed: Reclaim::default(),
            start_faults: Starts::default(),
            quickest_ns: u64::MAX / 3,
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
            log: BpfLog::none(),
            sched: None,
            block: None,
            softirq: None,
            reclaim: None,
            starts: None,
            proc: ProcReader::new(Path::new("/")),
            calibration: Calibration::new(monotonic_ns()),
            cpus: Cpus::default(),
            reclaimed: Reclaim::default(),
            start_faults: Starts::default(),
            quickest_ns: u64::MAX / 3,
            missing: missing.into(),
        }
    }

    /// What was measured of the machine itself, some time in the last minute.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        self.calibration.machine()
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

    /// Reads all counters. They are of one moment: within two milliseconds, or three times what reading them takes on a slow
    /// machine, unless that does not let the caller run for as long.
    pub fn sample(&mut self) -> Sample {
        self.log.print();
        let online = self.proc.online_cpus();
        let mut reading = self.read();
        for _ in 1..READS {
            let took = monotonic_ns().saturating_sub(reading.at_ns);
            self.quickest_ns = self.quickest_ns.min(took);
            // A slow machine takes longer each time.
            if took <= TOGETHER_NS.max(3 * self.quickest_ns) {
                break;
            }
            reading = self.read();
        }
        let Reading {
            at_ns,
            sched,
            reclaim,
            starts,
            mut sample,
        } = reading;
        self.calibration.renew(at_ns);
        if let (Some(counters), Some(online)) = (sched, online) {
            let cores = self.proc.cores(&online);
            let (totals, cpus) = self.cpus.update(at_ns, &counters, &online, cores);
            sample.sched = Some(totals);
            sample.cpus = cpus;
        }
        sample.reclaim = reclaim.map(|sum| self.reclaimed.update(at_ns, sum));
        let machine = self.calibration.machine();
        if let (Some(starts), Some(small)) = (starts, sample.kernel.faults) {
            let huge = sample.kernel.huge_faults.unwrap_or(0);
            let put_down = self
                .start_faults
                .update(starts, Faults { small, huge }, machine);
            sample.kernel.start_faults = Some(put_down.small);
            sample.kernel.start_huge_faults = Some(put_down.huge);
        }
        sample
    }

    fn read(&self) -> Reading {
        let at_ns = monotonic_ns();
        let sched = self.sched.as_ref().and_then(counters_of_cpus);
        let mut sum = Sum::default();
        let reclaim = each(self.reclaim.as_ref(), |cpu| sum.add(cpu)).map(|()| sum);
        let mut started = StartCounters::default();
        let starts = each(self.starts.as_ref(), |cpu| {
            started.forks += cpu.forks;
            started.programs += cpu.programs;
        })
        .map(|()| started);
        let mut block = BlockTotals::default();
        let mut softirq = SoftirqTotals::default();
        let sample = Sample {
            at_ns,
            block: each(self.block.as_ref(), |cpu| {
                block.busy_ns += cpu.busy_ns;
                block.requests += cpu.requests;
                block.bytes += cpu.bytes;
                block.foreground_ns += cpu.foreground_ns;
                block.flight_ns += cpu.flight_ns;
            })
            .map(|()| block),
            softirq: each(self.softirq.as_ref(), |cpu| {
                softirq.net_ns += cpu.net_ns;
                softirq.net_runs += cpu.net_runs;
            })
            .map(|()| softirq),
            kernel: self.proc.read(),
            ..Sample::default()
        };
        Reading {
            at_ns,
            sched,
            reclaim,
            starts,
            sample,
        }
    }
}

/// The counters of each CPU. Those that were being written are read again.
fn counters_of_cpus(map: &PerCpuArray<MapData, SchedCounters>) -> Option<Vec<SchedCounters>> {
    let mut counters: Vec<SchedCounters> = map.get(&0, 0).ok()?.iter().copied().collect();
    for _ in 0..READS {
        if counters.iter().all(|cpu| cpu.begun == cpu.ended) {
            break;
        }
        let again = map.get(&0, 0).ok()?;
        for (cpu, again) in counters.iter_mut().zip(again.iter()) {
            if cpu.begun != cpu.ended {
                *cpu = *again;
            }
        }
    }
    Some(counters)
}

/// Sleeps for a moment, until the programs know how sleeping tasks are woken. Where they do not get to know it, nothing counts
/// as woken by timers.
fn sleep_once(ebpf: &mut Ebpf) -> Result<(), AttachError> {
    let known: Array<MapData, u64> = object::take(ebpf, map::WAKES_SLEEPER)?;
    for _ in 0..READS {
        thread::sleep(Duration::from_micros(100));
        if known.get(&0, 0).is_ok_and(|function| function != 0) {
            break;
        }
    }
    Ok(())
}

/// The maps that have to do without an offset that this kernel does not have, and why.
pub(crate) type MissingOffset = (&'static [&'static str], String);

/// The offsets in the order of [`OFFSETS`].
pub(crate) fn offsets(types: &KernelTypes) -> ([u64; OFFSETS.len()], Option<MissingOffset>) {
    let mut offsets = [0; OFFSETS.len()];
    let mut missing: Option<MissingOffset> = None;
    for (slot, (global, structure, path)) in offsets.iter_mut().zip(OFFSETS) {
        match btf::offset(types, structure, path) {
            Ok(offset) => *slot = offset,
            Err(_) if OPTIONAL_OFFSETS.contains(&global) => *slot = ABSENT,
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

/// Has `add` called with the counters of each CPU; `None` when they cannot be read.
pub(crate) fn each<C: Pod>(
    map: Option<&PerCpuArray<MapData, C>>,
    add: impl FnMut(&C),
) -> Option<()> {
    map?.get(&0, 0).ok()?.iter().for_each(add);
    Some(())
}

/// What counts as a short burst on this machine: the same amount of work on any.
fn short_burst_ns(machine: &Machine) -> u64 {
    let burst = Duration::from_nanos(SHORT_BURST_NS).mul_f64(machine.slowness());
    u64::try_from(burst.as_nanos()).unwrap_or(SHORT_BURST_NS)
}
