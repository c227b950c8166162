//! Builds the BPF programs and hands their object to the crate.

#![expect(
    clippy::print_stderr,
    reason = "the way for a build script to say why it failed"
)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let sources = ["../profiler-ebpf", "../profiler-abi/src"];
    match auto_ext_bpf_build::build("auto-ext-profiler-ebpf", &sources) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
