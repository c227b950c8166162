//! Builds the BPF programs and hands their object to the crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    let sources = ["../profiler-ebpf", "../profiler-abi/src"];
    auto_ext_bpf_build::build("auto-ext-profiler-ebpf", &sources)
}
