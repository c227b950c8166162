//! The attach barrier of the hot swap: holds a new scheduler, loaded and verified, until the kernel has
//! detached the one before it and it may attach.
//!
//! The scheduler is not changed for this. Its process starts with a seccomp filter by which the
//! kernel asks us about two calls: opening a file for reading, and creating a BPF link. Whoever
//! reads /sys/kernel/sched_ext/state is told `disabled`, as schedulers give up when another one is
//! enabled; whoever attaches a scheduler has to wait. When it is permitted, the barrier is open for
//! good: from then on, everything goes on as if there were no barrier.
//!
//! **Supervised by a thread of its own for as long as the process lives.** A filter cannot be taken
//! off, so calls are asked about also after the scheduler has attached; once the barrier is dropped,
//! they fail with ENOSYS. The thread has a realtime priority: a scheduler that decides in user space
//! runs nothing else while it waits for an answer, not the thread that is to give it either, unless
//! that is none of those it schedules. Nor does the thread wait for whatever could be scheduled by it:
//! not for the caller's event loop and not for its log.
//!
//! **What it costs.** The filter asks about opening only as Rust's `File::open` and
//! `read_to_string` do it. Seccomp cannot see the path, and no later filter can allow more, so that
//! is as narrow as it gets. An open barrier does not look at the path either. Such an open and close
//! takes 9 to 15 us in place of 2.6, any other call 140 ns in place of 110
//! (`behind_any_barrier_many_files_can_be_opened`, in a virtual machine with two CPUs): nothing for a
//! scheduler, which opens a few files a second.
//!
//! **Not a security boundary.** What a process is told can be changed by it before the kernel looks
//! again; it holds up schedulers, not attackers. A scheduler that reads the state in another way
//! sees the truth, and gives up by itself.

mod error;
mod filter;
mod notify;
mod supervisor;

use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

pub use error::BarrierError;
use error::{answered, broken};
pub use supervisor::{Event, Pending};
use supervisor::{Shared, Supervisor};

/// How many events may wait for [`AttachBarrier::next`]. Whoever causes more waits.
const EVENTS: usize = 16;

/// Holds the attaching of one process and of all that descend from it.
#[derive(Debug)]
pub struct AttachBarrier {
    listener: OwnedFd,
    shared: Arc<Shared>,
    events: mpsc::Receiver<Result<Event, BarrierError>>,
    /// The supervisor ends when this is closed.
    _end: PipeWriter,
}

/// The right to open an attach barrier, from any thread and without delay.
#[derive(Debug)]
pub struct AttachPermit {
    listener: OwnedFd,
    shared: Arc<Shared>,
    pending: u64,
}

impl AttachPermit {
    /// Lets the scheduler attach that waits for it, and everything after it.
    ///
    /// # Errors
    /// When the kernel does not take the answer. Not when the process has gone meanwhile, which
    /// [`AttachBarrier::next`] tells.
    pub fn open(self) -> Result<(), BarrierError> {
        self.shared.open.store(true, Ordering::Release);
        answered(notify::proceed(self.listener.as_fd(), self.pending))
    }
}

impl AttachBarrier {
    /// Starts a process behind a closed barrier, and the thread that supervises it. To be called in a tokio
    /// runtime.
    ///
    /// Takes the command, as its other steps before exec must come before ours: between ours and
    /// exec, the process can open no file, because nobody answers before that.
    ///
    /// # Errors
    /// When there can be no barrier, or the program cannot be started. Then there is no process either.
    pub fn spawn(mut command: Command) -> Result<(Child, Self), BarrierError> {
        let unsupported = |error| BarrierError::Unsupported {
            step: "seccomp notifications",
            error,
        };
        if !notify::supported().map_err(unsupported)? {
            return Err(unsupported(Errno::ENOSYS));
        }
        let (ours, theirs) = UnixDatagram::pair().map_err(BarrierError::Spawn)?;
        // SAFETY: between fork and exec, `install` does only what is async-signal-safe, and
        // allocates nothing.
        unsafe { command.pre_exec(move || notify::install(theirs.as_fd())) };
        // This returns when the process has gone past `install` to exec, or has failed.
        let spawned = command.spawn();
        let listener = notify::receive_listener(ours.as_fd());
        match (spawned, listener) {
            (Ok(mut child), listener) => {
                let barrier = listener.map_err(io::Error::from).and_then(Self::closed);
                barrier
                    .map_err(|error| {
                        // It could open no file. Tokio waits for it.
                        let _ = child.start_kill();
                        broken("the listener", error)
                    })
                    .map(|barrier| (child, barrier))
            }
            (Err(error), Ok(_) | Err(Errno::EAGAIN)) => Err(BarrierError::Spawn(error)),
            (Err(_), Err(error)) => Err(unsupported(error)),
        }
    }

    fn closed(listener: OwnedFd) -> io::Result<Self> {
        // Without it, everything takes longer, and that is all.
        let _ = notify::wake_on_the_same_cpu(listener.as_fd());
        let shared = Arc::<Shared>::default();
        let (ended, end) = io::pipe()?;
        let (sender, events) = mpsc::channel(EVENTS);
        Supervisor {
            listener: listener.try_clone()?,
            shared: Arc::clone(&shared),
            ended,
            events: sender,
        }
        .start()?;
        Ok(Self {
            listener,
            shared,
            events,
            _end: end,
        })
    }

    /// Waits until something happens. Can be dropped and called again.
    ///
    /// # Errors
    /// `Unsupported` when we may not look into the process, which shows at the first file that it
    /// opens; whatever it calls from then on is let through. `Broken` when the kernel fails us; the
    /// supervisor tries again after a second.
    pub async fn next(&mut self) -> Result<Event, BarrierError> {
        self.events.recv().await.unwrap_or(Ok(Event::Gone))
    }

    /// Whether its supervisor has a realtime priority, before all that a scheduler schedules; to be asked once
    /// something has happened. Without one, a scheduler that decides in user space could wait for an answer
    /// for ever.
    #[must_use]
    pub fn supervisor_is_realtime(&self) -> bool {
        self.shared.supervisor_is_realtime.load(Ordering::Acquire)
    }

    /// What lets this scheduler attach. It must not be used any more once the scheduler was refused.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn permit(&self, pending: &Pending) -> Result<AttachPermit, BarrierError> {
        let listener = self.listener.try_clone();
        Ok(AttachPermit {
            listener: listener.map_err(|error| broken("its permit", error))?,
            shared: Arc::clone(&self.shared),
            pending: pending.id,
        })
    }

    /// Whether a scheduler was permitted to attach.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Has attaching fail with `errno`. The barrier stays closed.
    ///
    /// # Errors
    /// When the kernel does not take the answer. Not when the process has gone meanwhile, which
    /// [`AttachBarrier::next`] tells.
    #[expect(clippy::needless_pass_by_value, reason = "it is answered once")]
    pub fn refuse(&mut self, pending: Pending, errno: Errno) -> Result<(), BarrierError> {
        answered(notify::fail(self.listener.as_fd(), pending.id, errno))
    }
}

#[cfg(test)]
mod tests;
