//! What a scheduler's process says: read at a bounded cost, and logged at a bounded rate.
//!
//! A thread of its own reads, with a realtime priority: a scheduler that decides in user space, and waits
//! until there is room for what it says, runs nothing meanwhile that it schedules. Nor does the thread wait
//! for what could be scheduled by it: not for the caller's event loop, and not for its log.
//!
//! Of one that writes more than is read, the last lines are kept, by which its end is explained;
//! the first ones are in the log, and how much was left out. It is made to wait for moments only.

mod budget;
mod listener;

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter};
use std::sync::{Arc, Mutex};
use std::thread;

use auto_ext_service::lock::lock;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::sync::{mpsc, watch};

use crate::realtime::RealtimeGuard;
use listener::{Listener, LogEntry};

/// How much a pipe holds, the most that anybody may have: what is said between two looks at it.
const PIPE: i32 = 1 << 20;
/// How many lines may be on their way to the log.
const ON_THEIR_WAY: usize = 64;
/// Several times what the deepest call takes; of a stack only what is used is memory.
const STACK: usize = 128 << 10;

/// What a process says, from its start on.
#[derive(Debug)]
pub(crate) struct Output {
    last: Arc<Mutex<VecDeque<String>>>,
    ended: watch::Receiver<bool>,
}

impl Output {
    /// A pipe for a process to write to.
    pub(crate) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        // A smaller one is emptied as often, and only fills sooner.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok((reader, writer))
    }

    /// Begins to read what `scheduler` says. To be called in a tokio runtime.
    pub(crate) fn listen(reader: PipeReader, scheduler: String) -> io::Result<Self> {
        let (log, entries) = mpsc::channel(ON_THEIR_WAY);
        let (end, ended) = watch::channel(false);
        let last = Arc::default();
        let listener = Listener::new(reader, Arc::clone(&last), log);
        let thread = thread::Builder::new()
            .name("output".to_owned())
            .stack_size(STACK);
        thread.spawn(move || {
            // They are for other threads, and interrupt calls.
            let _ = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
            let _realtime = RealtimeGuard::this();
            listener.listen();
            let _ = end.send(true);
        })?;
        tokio::spawn(write_log(entries, scheduler));
        Ok(Self { last, ended })
    }

    /// Waits until no process can write to it any more. Can be dropped and called again.
    pub(crate) async fn ended(&mut self) {
        // Without its other side it has ended as well.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// The last lines.
    pub(crate) fn last_lines(&self) -> VecDeque<String> {
        lock(&self.last).clone()
    }
}

/// Logs what a scheduler says.
async fn write_log(mut entries: mpsc::Receiver<LogEntry>, scheduler: String) {
    let (mut left_out, mut said) = (0, false);
    while let Some(entry) = entries.recv().await {
        match entry {
            LogEntry::Line(line) => tracing::debug!(scheduler, "{line}"),
            LogEntry::LeftOut(bytes) => {
                tracing::debug!(scheduler, "({bytes} bytes were left out)");
                left_out += bytes;
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        scheduler,
                        "{scheduler} writes without end: only some of it is read"
                    );
                }
            }
        }
    }
    if left_out > 0 {
        tracing::info!(
            scheduler,
            "of what {scheduler} wrote, {left_out} bytes were left out"
        );
    }
}

#[cfg(test)]
mod tests;
