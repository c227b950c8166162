//! Builds the BPF programs and hands their objects to the crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    let sources = ["../profiler-ebpf", "../profiler-abi/src"];
    // As cargo says that a feature is wanted.
    let log = std::env::var_os("CARGO_FEATURE_BPF_LOG").map(|_| "bpf-log");
    let objects = [
        ("AUTO_EXT_BPF_OBJECT", "auto-ext-profiler-ebpf"),
        ("AUTO_EXT_OUTCOMES_OBJECT", "auto-ext-outcomes-ebpf"),
        ("AUTO_EXT_LONGEST_WAIT_OBJECT", "auto-ext-longest-wait-ebpf"),
    ];
    auto_ext_bpf_build::build("auto-ext-profiler-ebpf", &objects, &sources, log.as_slice())
}
