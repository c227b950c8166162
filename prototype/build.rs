//! Builds the BPF programs and hands their object to the crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    auto_ext_bpf_build::build("auto-ext-prototype-ebpf", &["ebpf"], &[])
}
