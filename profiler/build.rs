//! Builds the BPF programs and hands their object to the crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    let sources = ["../profiler-ebpf", "../profiler-abi/src"];
    // As cargo says that a feature is wanted.
    let log = std::env::var_os("CARGO_FEATURE_BPF_LOG").map(|_| "bpf-log");
    auto_ext_bpf_build::build("auto-ext-profiler-ebpf", &sources, log.as_slice())
}
