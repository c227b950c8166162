//! How long the arithmetic of predictions and of the network takes as BPF on this machine, as nanoseconds each time: the kernel itself runs
//! each part many times. It needs root and no sched_ext; what a scheduler does besides, such as to look up what is known of a task, is
//! not in it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libbpf_rs::{ObjectBuilder, ProgramInput};

/// The least that the kernel takes for a packet.
const PACKET: [u8; 64] = [0; 64];
const REPEAT: u32 = 1_000_000;
/// How often that is done. The kernel rounds each to a nanosecond.
const TIMES: usize = 15;

const PARTS: [(&str, &str); 3] = [
    ("wakeup", "a wakeup: features, line and prediction"),
    ("burst_end", "the end of a burst"),
    ("network_answer", "what the network says of a move"),
];

fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let object = directory.path().join("arithmetic_cost.bpf.o");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = Command::new(env!("FORESIGHT_CLANG"));
    compiler.args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf"]);
    // As scx_cargo has the scheduler compiled.
    compiler.args(["-mcpu=v4", "-mllvm", "-disable-ldsx"]);
    compiler
        .args(["-c", "-o"])
        .arg(&object)
        .arg(here.join("examples/arithmetic_cost.bpf.c"));
    let status = compiler.status().context("cannot run clang")?;
    ensure!(status.success(), "clang: {status}");
    let object = ObjectBuilder::default().open_file(&object)?.load()?;
    let measured = |part: &str| {
        let program = object
            .progs_mut()
            .find(|program| program.name() == part)
            .with_context(|| format!("no program {part}"))?;
        let once = || {
            let input = ProgramInput {
                data_in: Some(&PACKET),
                repeat: REPEAT,
                ..ProgramInput::default()
            };
            Ok(program.test_run(input)?.duration.as_nanos())
        };
        let mut all = (0..TIMES).map(|_| once()).collect::<Result<Vec<_>>>()?;
        all.sort_unstable();
        anyhow::Ok(all)
    };
    let nothing = measured("nothing")?[TIMES / 2];
    for (part, what) in PARTS {
        let all = measured(part)?;
        let [least, middle, most] =
            [0, TIMES / 2, TIMES - 1].map(|at| all[at].saturating_sub(nothing));
        println!("{what}: {middle} ns ({least} to {most})");
    }
    Ok(())
}
