//! What is needed of the running kernel's types: where members of structures are, and what attaching asks for.

use std::path::Path;

use auto_ext_service::kernel_types::{FILE, KernelTypes, TypesError};
use aya::{Btf, Endianness};

use crate::object::AttachError;

/// What the kernel's types for the programs at tracepoints begin with.
const TRACEPOINTS: &str = "btf_trace_";

/// The structure has no such member in this kernel.
#[derive(Debug, thiserror::Error)]
#[error("this kernel's BTF has no `{path}` in struct {structure}")]
pub(crate) struct MissingMember {
    structure: String,
    path: String,
}

/// The types of the running kernel.
pub(crate) fn kernel_types() -> Result<KernelTypes, AttachError> {
    KernelTypes::of_the_kernel().map_err(|error| match error {
        TypesError::Unreadable { path, error } if error.kind() == std::io::ErrorKind::NotFound => {
            AttachError::NoBtf(path)
        }
        error => AttachError::Object(error.to_string()),
    })
}

/// Of these, what attaching to tracepoints asks for. All of them would take twenty megabytes as the loader keeps them.
pub(crate) fn of_tracepoints(types: KernelTypes) -> Result<Btf, AttachError> {
    of_tracepoints_and(types, &[])
}

/// The same, and what attaching to these functions asks for.
pub(crate) fn of_tracepoints_and(
    types: KernelTypes,
    functions: &[&str],
) -> Result<Btf, AttachError> {
    let kept = types.only(TRACEPOINTS, functions);
    // Not both at once: each takes megabytes.
    drop(types);
    Btf::parse(&kept, Endianness::default())
        .map_err(|error| AttachError::Object(format!("{}: {error}", Path::new(FILE).display())))
}

/// The offset in bytes of a member such as `se.cfs_rq` in `structure`.
pub(crate) fn offset(
    types: &KernelTypes,
    structure: &str,
    path: &str,
) -> Result<u64, MissingMember> {
    let found = types.offset(structure, path).map(u64::from);
    found.ok_or_else(|| MissingMember {
        structure: structure.to_owned(),
        path: path.to_owned(),
    })
}

/// The offsets of members that all have to be there, each as (global, structure, path of members), in that order.
pub(crate) fn offsets<const N: usize>(
    types: &KernelTypes,
    members: &[(&str, &str, &str); N],
) -> Result<[u64; N], AttachError> {
    let mut offsets = [0; N];
    for (slot, (_, structure, path)) in offsets.iter_mut().zip(members) {
        *slot = offset(types, structure, path)
            .map_err(|error| AttachError::Object(error.to_string()))?;
    }
    Ok(offsets)
}
