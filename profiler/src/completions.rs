//! What was completed on this machine: requests of disks and packets, for who wants nothing else of the profiler.

use std::path::Path;

use auto_ext_profiler_abi::{BlockCounters, OFFSETS, map};
use auto_ext_signals::{BlockTotals, Sample};
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};

use crate::attach::{each, offsets};
use crate::btf;
use crate::object::{self, AttachError};
use crate::proc::ProcReader;

const PROGRAM: &str = "block_rq_complete";

/// Counts requests as long as it is there; packets are counted anyway.
pub struct Completions {
    // Holds the program's link.
    _ebpf: Ebpf,
    block: PerCpuArray<MapData, BlockCounters>,
    proc: ProcReader,
}

impl Completions {
    /// Loads and attaches the program that counts requests.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn attach() -> Result<Self, AttachError> {
        let mut loader = object::loader();
        let types = btf::kernel_types()?;
        let (offsets, missing) = offsets(&types);
        if let Some((_, why)) = missing.filter(|(maps, _)| maps.contains(&map::BLOCK)) {
            return Err(AttachError::Object(why));
        }
        let tracepoints = btf::of_tracepoints(types)?;
        loader.btf(Some(&tracepoints));
        for ((global, ..), offset) in OFFSETS.iter().zip(&offsets) {
            loader.override_global(global, offset, true);
        }
        let mut ebpf = object::load(&mut loader, object::PROFILER)?;
        object::attach(&mut ebpf, PROGRAM, &tracepoints).map_err(AttachError::Object)?;
        let block = object::take(&mut ebpf, map::BLOCK)?;
        drop(tracepoints);
        object::give_back_memory();
        Ok(Self {
            _ebpf: ebpf,
            block,
            proc: ProcReader::new(Path::new("/")),
        })
    }

    /// How many there were until now, as [`Sample::completions`] says.
    #[must_use]
    pub fn read(&self) -> Option<u64> {
        let mut block = BlockTotals::default();
        each(Some(&self.block), |cpu: &BlockCounters| {
            block.requests += cpu.requests;
        })?;
        let sample = Sample {
            block: Some(block),
            kernel: self.proc.read(),
            ..Sample::default()
        };
        sample.completions()
    }
}
