//! For how long the task has waited for a CPU that waits longest, at the moment of a look: a guard against starvation, which no
//! total of waits that ended tells.
//!
//! A look reads a BPF iterator of tasks, which runs a program for each of them and nothing at any other time. That takes some
//! hundred nanoseconds a task, so that once a second is seldom enough.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use auto_ext_profiler_abi::{LONGEST_WAIT_OFFSETS, map};
use aya::maps::{Array, MapData};
use aya::programs::{Iter, ProgramError};
use aya::{Btf, Ebpf};

use crate::object::{self, AttachError};

/// The kernel's function that an iterator of tasks belongs to, and that of them as a program names it.
pub(crate) const ITERATOR: &str = "bpf_iter_task";
const TASKS: &str = "task";
const PROGRAM: &str = "longest_wait";

/// Where the members are that the program reads.
pub(crate) type Offsets = [u64; LONGEST_WAIT_OFFSETS.len()];

/// What looks; dropping it unloads the program.
pub struct LongestWait {
    ebpf: Ebpf,
    longest: Array<MapData, u64>,
}

impl LongestWait {
    /// `types` have [`ITERATOR`].
    pub(crate) fn load(types: &Btf, offsets: &Offsets) -> Result<Self, AttachError> {
        let mut loader = object::loader();
        loader.btf(Some(types));
        for ((global, ..), offset) in LONGEST_WAIT_OFFSETS.iter().zip(offsets) {
            loader.override_global(global, offset, true);
        }
        let mut ebpf = object::load(&mut loader, object::LONGEST_WAIT)?;
        let loaded = program(&mut ebpf).and_then(|program| program.load(TASKS, types));
        loaded.map_err(|error| {
            let why = object::chain(&error);
            AttachError::Object(format!("iterator of tasks: {}", object::first_line(&why)))
        })?;
        Ok(Self {
            longest: object::take(&mut ebpf, map::LONGEST_WAIT)?,
            ebpf,
        })
    }

    /// How long that is now; 0 where nobody waits. Tasks count that have a normal policy and no nice value above 0; a wait begins anew where
    /// a task is moved to another queue. `None` when it cannot be told.
    pub fn look(&mut self) -> Option<Duration> {
        self.longest.set(0, 0, 0).ok()?;
        let program = program(&mut self.ebpf).ok()?;
        let link = program.attach().ok()?;
        let iterator = program.take_link(link).ok()?.into_file().ok()?;
        drain(iterator)?;
        self.longest.get(&0, 0).ok().map(Duration::from_nanos)
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Iter, ProgramError> {
    let program = ebpf.program_mut(PROGRAM);
    program
        .ok_or(ProgramError::NotLoaded)
        .and_then(TryInto::try_into)
}

/// Reads to the end, of a program that writes nothing.
fn drain(mut iterator: File) -> Option<()> {
    let mut nothing = [0; 64];
    loop {
        match iterator.read(&mut nothing) {
            Ok(0) => return Some(()),
            Ok(_) => {}
            // After a million tasks the kernel has the reader ask for the others.
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => return None,
        }
    }
}
