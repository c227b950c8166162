//! What the build made of the BPF programs: their skeleton, and the types that both sides share.

#![allow(
    non_upper_case_globals,
    non_camel_case_types,
    non_snake_case,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    rust_2018_idioms,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated"
)]

/// Types and numbers of `bpf/intf.h`.
pub(crate) mod intf {
    include!(concat!(env!("OUT_DIR"), "/bpf_intf.rs"));
}

include!(concat!(env!("OUT_DIR"), "/bpf_skel.rs"));
