//! Attaches the BPF programs and reads their counters. Owns everything that profiling holds in the
//! kernel; dropping it detaches all.
//!
//! Each program stands alone: one that this kernel does not take leaves its signals unmeasured, with
//! the reason in [`Profiler::missing`], and the others work.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use auto_ext_profiler_abi::{
    BlockCounters, FaultCounters, OFFSETS, SHORT_BURST_NS, SchedCounters, SoftirqCounters, map,
};
use aya::maps::{MapData, PerCpuArray};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader, Endianness, Pod};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::btf::KernelTypes;
use crate::calibrate;
use crate::proc::ProcReader;
use crate::sample::{BlockTotals, FaultTotals, Machine, Sample, SchedTotals, SoftirqTotals};
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
        &["sched_switch"],
        &[Signal::Cpu, Signal::Parallel, Signal::Interactive],
    ),
    (map::BLOCK, &["block_rq_complete"], &[Signal::Io]),
    (
        map::SOFTIRQ,
        &["softirq_entry", "softirq_exit"],
        &[Signal::Net],
    ),
    (map::FAULT, &["page_fault_user"], &[Signal::Mem]),
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
    fault: Option<PerCpuArray<MapData, FaultCounters>>,
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
            fault: take(&mut ebpf, map::FAULT, &missing, Signal::Mem)?,
            _ebpf: ebpf,
            proc: ProcReader::new(Path::new("/proc")),
            machine,
            missing,
        };
        visit_every_cpu();
        Ok(profiler)
    }

    /// What was measured about the machine once.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The signals whose BPF program could not be attached, with the reason. What the kernel
    /// counts anyway may still measure them in part.
    #[must_use]
    pub fn missing(&self) -> &[(Signal, String)] {
        &self.missing
    }

    /// Reads all counters.
    #[must_use]
    pub fn sample(&self) -> Sample {
        let at_ns = monotonic_ns();
        Sample {
            at_ns,
            cpus: online_cpus(),
            sched: totals(self.sched.as_ref(), |total: &mut SchedTotals, cpu| {
                total.busy_ns += cpu.busy_ns + cpu.busy * since_last_switch(cpu, at_ns);
                total.wait_ns += cpu.wait_ns + cpu.waiting * since_last_switch(cpu, at_ns);
                total.short_ns += cpu.short_ns;
                total.short_bursts += cpu.short_bursts;
                total.switches += cpu.switches;
            }),
            block: totals(self.block.as_ref(), |total: &mut BlockTotals, cpu| {
                total.busy_ns += cpu.busy_ns;
                total.requests += cpu.requests;
                total.bytes += cpu.bytes;
            }),
            softirq: totals(self.softirq.as_ref(), |total: &mut SoftirqTotals, cpu| {
                total.net_ns += cpu.net_ns;
                total.net_runs += cpu.net_runs;
            }),
            fault: totals(self.fault.as_ref(), |total: &mut FaultTotals, cpu| {
                total.faults += cpu.faults;
                total.write_faults += cpu.write_faults;
            }),
            kernel: self.proc.read(),
        }
    }
}

/// The offsets in the order of [`OFFSETS`], and where one is not there, which maps do without it.
type MissingOffset = (&'static [&'static str], String);

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
        match types.offset(structure, path) {
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

/// Adds up the counters of all CPUs; `None` when they cannot be read.
fn totals<C: Pod, T: Default>(
    map: Option<&PerCpuArray<MapData, C>>,
    add: impl Fn(&mut T, &C),
) -> Option<T> {
    let cpus = map?.get(&0, 0).ok()?;
    let mut total = T::default();
    for cpu in cpus.iter() {
        add(&mut total, cpu);
    }
    Some(total)
}

/// What counts as a short burst on this machine: the same amount of work on any.
fn short_burst_ns(machine: &Machine) -> u64 {
    let burst = Duration::from_nanos(SHORT_BURST_NS).mul_f64(machine.slowness());
    u64::try_from(burst.as_nanos()).unwrap_or(SHORT_BURST_NS)
}

/// Nanoseconds since the CPU last switched tasks, during which its state has not changed.
fn since_last_switch(cpu: &SchedCounters, now_ns: u64) -> u64 {
    if cpu.clock == 0 {
        return 0;
    }
    now_ns.saturating_sub(cpu.clock.wrapping_add(cpu.clock_offset))
}

fn monotonic_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
        .expect("CLOCK_MONOTONIC exists on every Linux and the argument is valid")
}

fn online_cpus() -> u32 {
    thread_count(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)
}

fn thread_count(variable: nix::unistd::SysconfVar) -> u32 {
    nix::unistd::sysconf(variable)
        .ok()
        .flatten()
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(1)
        .max(1)
}

/// Makes every CPU switch tasks once, in the background: one that has run a single task since before
/// the programs were attached has not told them what it does. It ends early, without harm, on a CPU
/// that never lets it run.
fn visit_every_cpu() {
    let cpus = thread_count(nix::unistd::SysconfVar::_NPROCESSORS_CONF) as usize;
    let visitor = thread::Builder::new()
        .name("visit-cpus".into())
        .spawn(move || {
            for cpu in 0..cpus {
                let mut only = CpuSet::new();
                if only.set(cpu).is_ok() {
                    // An offline CPU is refused, and has nothing to tell.
                    let _ = sched_setaffinity(Pid::from_raw(0), &only);
                }
            }
        });
    // Without the thread, the CPUs tell at their next switch.
    drop(visitor);
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
