//! The gate of the hot swap: holds a new scheduler at the door of attaching, loaded and verified,
//! until its seat is free.
//!
//! The scheduler is not changed for this. Its process starts with a seccomp filter by which the
//! kernel asks us about two calls: opening a file for reading, and creating a BPF link. Whoever
//! reads /sys/kernel/sched_ext/state is told `disabled`, as schedulers give up when another one is
//! enabled; whoever attaches a scheduler stands at the door. When it is opened, the gate is open
//! for good: from then on, everything goes on as if there were no gate.
//!
//! **Served by a thread of its own for as long as the process lives.** A filter cannot be taken off,
//! so calls are asked about also after the scheduler went through; once the gate is dropped, they
//! fail with ENOSYS. The thread has a realtime priority: a scheduler that decides in user space
//! runs nothing else while it waits for an answer, not the one who is to give it either, unless
//! that one is none of those it schedules. Nor does the thread wait for whoever could be one: not
//! for the daemon's loop and not for its log.
//!
//! **What it costs.** The filter asks about opening only as Rust's `File::open` and
//! `read_to_string` do it. Seccomp cannot see the path, and no later filter can allow more, so that
//! is as narrow as it gets. An open gate does not look at the path either. Such an open and close
//! takes 9 to 15 us in place of 2.6, any other call 140 ns in place of 110
//! (`behind_any_gate_many_files_can_be_opened`, in a virtual machine with two CPUs): nothing for a
//! scheduler, which opens a few files a second.
//!
//! **Not a security boundary.** What a process is told can be changed by it before the kernel looks
//! again; it holds up schedulers, not attackers. A scheduler that reads the state in another way
//! sees the truth, and gives up by itself.

mod attendant;
mod filter;
mod notify;

use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use attendant::Attendant;

const STATE: &str = "/sys/kernel/sched_ext/state";
const NO_SCHEDULER: &str = "disabled\n";
/// How many events may be waiting to be heard of. Whoever causes more waits.
const EVENTS: usize = 16;

/// Why there is no gate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    /// It cannot be had here: seccomp's notifications are missing or forbidden, or (EBUSY) somebody
    /// else's filter takes them already, as in some containers. The program itself may well run
    /// without a gate.
    #[error("no hot swap here: {step}: {error}")]
    Unsupported { step: &'static str, error: Errno },
    /// The program cannot be started, with a gate or without.
    #[error(transparent)]
    Spawn(io::Error),
    /// What should not happen. The gate is of no more use.
    #[error("the gate broke: {step}: {error}")]
    Broken {
        step: &'static str,
        error: io::Error,
    },
}

fn broken(step: &'static str, error: impl Into<io::Error>) -> GateError {
    let error = error.into();
    GateError::Broken { step, error }
}

/// What happens at a gate.
#[derive(Debug)]
pub(crate) enum Event {
    /// A scheduler is loaded, verified and about to attach. It waits for [`Opener::open`] or
    /// [`Gate::refuse`]; until then, its thread handles no signal but those that kill. To end it
    /// the clean way, refuse it first.
    AtTheDoor(Pending),
    /// No process behind the gate is left, nor will there be.
    Gone,
}

/// A scheduler at the door. Dropping it leaves it there.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pending {
    id: u64,
    thread: i32,
}

impl Pending {
    /// The thread that is to attach it.
    pub(crate) fn thread(&self) -> i32 {
        self.thread
    }
}

/// A gate, and all processes and threads that descend from the one behind it.
#[derive(Debug)]
pub(crate) struct Gate {
    listener: OwnedFd,
    shared: Arc<Shared>,
    events: mpsc::Receiver<Result<Event, GateError>>,
    /// The attendant ends when this is closed.
    _end: PipeWriter,
}

/// What a gate and its attendant know of each other.
#[derive(Debug, Default)]
struct Shared {
    open: AtomicBool,
    goes_first: AtomicBool,
}

/// What opens a gate from any thread, without delay.
#[derive(Debug)]
pub(crate) struct Opener {
    listener: OwnedFd,
    shared: Arc<Shared>,
    pending: u64,
}

impl Opener {
    /// Lets the scheduler in that stands at the door, and everything after it.
    ///
    /// # Errors
    /// Not when it has gone meanwhile, which [`Gate::next`] tells.
    pub(crate) fn open(self) -> Result<(), GateError> {
        self.shared.open.store(true, Ordering::Release);
        answered(notify::proceed(self.listener.as_fd(), self.pending))
    }
}

impl Gate {
    /// Starts a process behind a closed gate, and the thread that serves it. To be called in a tokio
    /// runtime.
    ///
    /// Takes the command, as its other steps before exec must come before ours: between ours and
    /// exec, the process can open no file, because nobody answers before that.
    ///
    /// # Errors
    /// Then there is no process either.
    pub(crate) fn spawn(mut command: Command) -> Result<(Child, Self), GateError> {
        let unsupported = |error| GateError::Unsupported {
            step: "seccomp notifications",
            error,
        };
        if !notify::supported().map_err(unsupported)? {
            return Err(unsupported(Errno::ENOSYS));
        }
        let (ours, theirs) = UnixDatagram::pair().map_err(GateError::Spawn)?;
        // SAFETY: between fork and exec, `install` does only what is async-signal-safe, and
        // allocates nothing.
        unsafe { command.pre_exec(move || notify::install(theirs.as_fd())) };
        // This returns when the process has gone past `install` to exec, or has failed.
        let spawned = command.spawn();
        let listener = notify::receive_listener(ours.as_fd());
        match (spawned, listener) {
            (Ok(mut child), listener) => {
                let gate = listener.map_err(io::Error::from).and_then(Self::closed);
                gate.map_err(|error| {
                    // It could open no file. Tokio waits for it.
                    let _ = child.start_kill();
                    broken("the listener", error)
                })
                .map(|gate| (child, gate))
            }
            (Err(error), Ok(_) | Err(Errno::EAGAIN)) => Err(GateError::Spawn(error)),
            (Err(_), Err(error)) => Err(unsupported(error)),
        }
    }

    fn closed(listener: OwnedFd) -> io::Result<Self> {
        // Without it, everything takes longer, and that is all.
        let _ = notify::take_turns(listener.as_fd());
        let shared = Arc::<Shared>::default();
        let (ended, end) = io::pipe()?;
        let (tell, events) = mpsc::channel(EVENTS);
        Attendant {
            listener: listener.try_clone()?,
            shared: Arc::clone(&shared),
            ended,
            tell,
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
    /// opens; whatever it calls from then on is let through.
    pub(crate) async fn next(&mut self) -> Result<Event, GateError> {
        self.events.recv().await.unwrap_or(Ok(Event::Gone))
    }

    /// Whether its thread goes before all that a scheduler schedules; to be asked once something
    /// has happened.
    pub(crate) fn goes_first(&self) -> bool {
        self.shared.goes_first.load(Ordering::Acquire)
    }

    /// What lets this scheduler in. It must not be used any more once the scheduler was refused.
    ///
    /// # Errors
    /// When there are too many open files.
    pub(crate) fn opener(&self, pending: &Pending) -> Result<Opener, GateError> {
        let listener = self.listener.try_clone();
        Ok(Opener {
            listener: listener.map_err(|error| broken("its opener", error))?,
            shared: Arc::clone(&self.shared),
            pending: pending.id,
        })
    }

    /// Whether a scheduler was let in.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Lets attaching fail. The gate stays closed.
    ///
    /// # Errors
    /// Not when it has gone meanwhile, which [`Gate::next`] tells.
    #[expect(clippy::needless_pass_by_value, reason = "it is answered once")]
    pub(crate) fn refuse(&mut self, pending: Pending, errno: Errno) -> Result<(), GateError> {
        answered(notify::fail(self.listener.as_fd(), pending.id, errno))
    }
}

fn answered(result: nix::Result<()>) -> Result<(), GateError> {
    match result {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(broken("answering a call", error)),
    }
}

#[cfg(test)]
mod tests;
