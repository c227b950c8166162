//! A job of two threads that wake each other through pipes, as `perf bench sched pipe` does.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::thread;

use anyhow::anyhow;

/// How often each wakes the other: some seconds in an emulated machine.
const TIMES: usize = 10_000;

/// Hands a byte to another thread and has it back, so many times.
pub(super) fn run() -> anyhow::Result<()> {
    let (mut there, mut to_there) = pipe()?;
    let (mut here, mut to_here) = pipe()?;
    let other = thread::spawn(move || (0..TIMES).try_for_each(|_| pass(&mut there, &mut to_here)));
    let mut byte = [0];
    for _ in 0..TIMES {
        to_there.write_all(&byte)?;
        here.read_exact(&mut byte)?;
    }
    let ended = other.join();
    Ok(ended.map_err(|_| anyhow!("the other thread panicked"))??)
}

fn pass(from: &mut PipeReader, to: &mut PipeWriter) -> io::Result<()> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    to.write_all(&byte)
}
