//! A build: twice as many compilers as CPUs, each a process of its own that starts, takes memory as it goes,
//! computes, writes an object file and ends. It uses all CPUs.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;

use super::files;
use super::work::{compute, cpus, start};

/// How many files the program that is built has, for each compiler that runs at a time.
const FILES: u32 = 20;
/// What a compiler takes of the heap at a time, and how often: 30 MB in all, and 300 ms.
const PIECE: usize = 64 << 10;
const PIECES: u32 = 480;
const TIME: Duration = Duration::from_millis(300);
const OBJECT: usize = 100_000;

/// The build.
pub(super) fn build() -> anyhow::Result<()> {
    let directory = files::directory_of_files().join("objects");
    fs::create_dir_all(&directory)?;
    let program = std::env::current_exe()?;
    for job in 0..2 * cpus() {
        let (program, directory) = (program.clone(), directory.clone());
        start("job", move || {
            for file in (0..FILES).cycle() {
                let mut compiler = Command::new(&program);
                compiler.args(["load", "compiler"]);
                compiler.arg(directory.join(format!("{job}-{file}.o")));
                let status = compiler.stdin(Stdio::null()).status()?;
                ensure!(status.success(), "the compiler: {status}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// One compiler. It takes its memory in small pieces, as real ones do: they get no huge pages.
pub(super) fn compile(object: &str) -> anyhow::Result<()> {
    let mut heap: Vec<Vec<u8>> = Vec::new();
    for _ in 0..PIECES {
        heap.push(black_box(vec![1; PIECE]));
        compute(TIME / PIECES);
    }
    fs::write(PathBuf::from(object), vec![1; OBJECT])?;
    Ok(())
}
