//! Compiles the BPF programs with clang (`BPF_CLANG`) and makes Rust of what both sides share.

fn main() {
    let build = || {
        scx_cargo::BpfBuilder::new()?
            .enable_intf("bpf/intf.h", "bpf_intf.rs")
            .enable_skel("bpf/main.bpf.c", "bpf")
            .build()
    };
    if let Err(error) = build() {
        println!("cargo::error={}", format!("{error:#}").replace('\n', " | "));
    }
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=BPF_CLANG");
    // For the test that compiles the same for this machine.
    let clang = std::env::var("BPF_CLANG").unwrap_or_else(|_| "clang".to_owned());
    println!("cargo::rustc-env=FORESIGHT_CLANG={clang}");
}
