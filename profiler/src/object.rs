//! The BPF objects: an ELF file with the programs and maps of what is always measured, of which each user loads a copy and
//! attaches what it wants, one of outcomes, and one that looks for the longest wait. Owns loading and its errors, and leaves to
//! others what is attached.

use std::path::PathBuf;

use aya::maps::{Map, MapError};
use aya::programs::{BtfTracePoint, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};

/// What the profilers and the programs about processes are in.
pub(crate) static PROFILER: &[u8] = aya::include_bytes_aligned!(env!("AUTO_EXT_BPF_OBJECT"));
/// What the programs that measure outcomes are in.
pub(crate) static OUTCOMES: &[u8] = aya::include_bytes_aligned!(env!("AUTO_EXT_OUTCOMES_OBJECT"));
/// What the program that looks for the longest wait is in.
pub(crate) static LONGEST_WAIT: &[u8] =
    aya::include_bytes_aligned!(env!("AUTO_EXT_LONGEST_WAIT_OBJECT"));

/// Why nothing can be attached.
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

/// A loader without any of the kernel's types. It is to be made before anything large is: aya reads all of them as it makes
/// one, whatever it is given afterwards, which takes some 25 MB for a moment (aya-rs/aya#1172, mended after 0.14.0).
pub(crate) fn loader<'a>() -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    loader
}

/// Creates the maps. No program is loaded yet.
pub(crate) fn load(loader: &mut EbpfLoader<'_>, object: &[u8]) -> Result<Ebpf, AttachError> {
    loader.load(object).map_err(|error| {
        if permission_denied(&error) {
            AttachError::NotPermitted
        } else {
            AttachError::Object(chain(&error))
        }
    })
}

/// Loads and attaches the program called like its tracepoint; the error says what the kernel has
/// against it.
pub(crate) fn attach(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<(), String> {
    attach_to(ebpf, name, name, btf)
}

/// The same for a program that is called otherwise.
pub(crate) fn attach_to(
    ebpf: &mut Ebpf,
    name: &str,
    tracepoint: &str,
    btf: &Btf,
) -> Result<(), String> {
    let program: &mut BtfTracePoint = ebpf
        .program_mut(name)
        .ok_or_else(|| format!("the BPF object has no program `{name}`"))?
        .try_into()
        .map_err(|error: ProgramError| chain(&error))?;
    let result = program
        .load(tracepoint, btf)
        .and_then(|()| program.attach().map(drop));
    result.map_err(|error| format!("tracepoint {tracepoint}: {}", first_line(&chain(&error))))
}

/// The map called `name`.
pub(crate) fn take<T>(ebpf: &mut Ebpf, name: &str) -> Result<T, AttachError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf
        .take_map(name)
        .ok_or_else(|| AttachError::Object(format!("the BPF object has no map `{name}`")))?;
    T::try_from(map).map_err(|error| AttachError::Object(chain(&error)))
}

/// Gives the memory that was freed back to the kernel, which the allocator would keep for later.
pub(crate) fn give_back_memory() {
    // SAFETY: only memory that nobody uses is given back.
    #[cfg(target_env = "gnu")]
    unsafe {
        nix::libc::malloc_trim(0)
    };
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
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
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

pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
