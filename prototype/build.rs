//! Builds the BPF programs and hands their object to the crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    const PACKAGE: &str = "auto-ext-prototype-ebpf";
    let objects = [("AUTO_EXT_BPF_OBJECT", PACKAGE)];
    auto_ext_bpf_build::build(PACKAGE, &objects, &["ebpf"], &[])
}
