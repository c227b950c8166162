//! Attaches the BPF programs and reads their counters. Owns everything that profiling holds in the
//! kernel; dropping it detaches all.
//!
//! Each program stands alone: one that this kernel does not take leaves its signals unmeasured, with
//! the reason in [`Profiler::missing`], and the others work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_profiler_abi::{
    BlockCounters, OFFSETS, OPTIONAL_OFFSETS, ReclaimCounters, SHORT_BURST_NS, SchedCounters,
    SoftirqCounters, map,
};
use aya::maps::{MapData, PerCpuArray};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader, Endianness, Pod};
use nix::time::{ClockId, clock_gettime};

use crate::btf::KernelTypes;
use crate::calibrate;
use crate::proc::ProcReader;
use crate::sample::{BlockTotals, Machine, ReclaimTotals, Sample, SchedTotals, SoftirqTotals};
use crate::signal::Signal;

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Aligned as the ELF parser wants it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);
static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("AUTO_EXT_BPF_OBJECT")));

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

/// Why nothing can be profiled.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel was built without BTF.
    #[error(
        "{} is missing: this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF), which profiling needs",
        .0.display()
    )]
    NoBtf(PathBuf),
    /// The caller may not load BPF programs.
    #[error("loading BPF programs is not permitted: run as root (CAP_BPF and CAP_PERFMON)")]
    NotPermitted,
    /// The object with the programs could not be loaded.
    #[error("the BPF object cannot be loaded: {0}")]
    Object(String),
}

/// The attached BPF programs.
pub struct Profiler {
    // Holds the programs' links.
    _ebpf: Ebpf,
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
        let btf_path = Path::new(KERNEL_BTF);
        if !btf_path.exists() {
            return Err(AttachError::NoBtf(btf_path.to_owned()));
        }
        let btf = Btf::parse_file(btf_path, Endianness::default())
            .map_err(|error| AttachError::Object(error.to_string()))?;
        let (offsets, missing_offset) = offsets(btf_path);
        let machine = calibrate::measure();
        let short_burst_ns = short_burst_ns(&machine);
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&btf));
        for ((global, ..), offset) in OFFSETS.iter().zip(&offsets) {
            loader.override_global(global, offset, true);
        }
        loader.override_global("SHORT_BURST_NS", &short_burst_ns, true);
        let mut ebpf = loader.load(&OBJECT.0).map_err(|error| {
            if permission_denied(&error) {
                AttachError::NotPermitted
            } else {
                AttachError::Object(chain(&error))
            }
        })?;

        let mut missing = Vec::new();
        for (map, programs, signals) in PROFILERS {
            let attached = match &missing_offset {
                Some((maps, reason)) if maps.contains(&map) => Err(reason.clone()),
                _ => programs
                    .iter()
                    .try_for_each(|name| attach_program(&mut ebpf, name, &btf)),
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
            _ebpf: ebpf,
            proc: ProcReader::new(Path::new("/")),
            machine,
            missing,
        };
        Ok(profiler)
    }

    /// What was measured about the machine once.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
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
fn offsets(btf: &Path) -> ([u64; OFFSETS.len()], Option<MissingOffset>) {
    let mut offsets = [0; OFFSETS.len()];
    let types = match KernelTypes::load(btf) {
        Ok(types) => types,
        Err(error) => {
            return (
                offsets,
                Some((&[map::SCHED, map::BLOCK], error.to_string())),
            );
        }
    };
    let mut missing: Option<MissingOffset> = None;
    for (slot, (_, structure, path)) in offsets.iter_mut().zip(OFFSETS) {
        let stand_in = OPTIONAL_OFFSETS
            .iter()
            .find(|(optional, _)| *optional == path);
        let found = types
            .offset(structure, path)
            .or_else(|error| match stand_in {
                Some((_, stand_in)) => types.offset(structure, stand_in),
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

fn attach_program(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<(), String> {
    let program: &mut BtfTracePoint = ebpf
        .program_mut(name)
        .ok_or_else(|| format!("the BPF object has no program `{name}`"))?
        .try_into()
        .map_err(|error: aya::programs::ProgramError| chain(&error))?;
    let result = program
        .load(name, btf)
        .and_then(|()| program.attach().map(drop));
    result.map_err(|error| format!("tracepoint {name}: {}", first_line(&chain(&error))))
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
    let map = ebpf
        .take_map(name)
        .ok_or_else(|| AttachError::Object(format!("the BPF object has no map `{name}`")))?;
    PerCpuArray::try_from(map)
        .map(Some)
        .map_err(|error| AttachError::Object(chain(&error)))
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

fn permission_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::PermissionDenied
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// The error with its sources, each once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let source = error.to_string();
        if !text.contains(&source) {
            text = format!("{text}: {source}");
        }
        next = error.source();
    }
    text
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
