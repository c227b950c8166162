//! The gate of the hot swap: holds a new scheduler at the door of attaching, loaded and verified,
//! until its seat is free.
//!
//! The scheduler is not changed for this. Its process starts with a seccomp filter by which the
//! kernel asks us about two calls: opening a file for reading, and creating a BPF link. Whoever
//! reads /sys/kernel/sched_ext/state is told `disabled`, as schedulers give up when another one is
//! enabled; whoever attaches a scheduler stands at the door. When it is opened, the gate is open
//! for good: from then on, everything goes on as if there were no gate.
//!
//! **To be served for as long as the process lives.** A filter cannot be taken off. A call that is
//! asked about waits until somebody is in [`Gate::next`]; once the gate is dropped, these calls
//! fail with ENOSYS. So somebody must be in `next` also while a scheduler stands at the door (its
//! other threads), and after it went through.
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

mod filter;
mod notify;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::task::{coop, spawn_blocking};

use notify::Waiting;

const STATE: &str = "/sys/kernel/sched_ext/state";
const NO_SCHEDULER: &str = "disabled\n";
/// The kernel announces a call as an error when a signal keeps it from looking closer; it does so
/// once.
const ANNOUNCED: Interest = Interest::READABLE.add(Interest::ERROR);

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
    listener: AsyncFd<OwnedFd>,
    open: Arc<AtomicBool>,
}

/// What opens a gate from any thread, without delay.
#[derive(Debug)]
pub(crate) struct Opener {
    listener: OwnedFd,
    open: Arc<AtomicBool>,
    pending: u64,
}

impl Opener {
    /// Lets the scheduler in that stands at the door, and everything after it.
    ///
    /// # Errors
    /// Not when it has gone meanwhile, which [`Gate::next`] tells.
    pub(crate) fn open(self) -> Result<(), GateError> {
        self.open.store(true, Ordering::Release);
        answered(notify::proceed(self.listener.as_fd(), self.pending))
    }
}

impl Gate {
    /// Starts a process behind a closed gate. To be called in a tokio runtime.
    ///
    /// Takes the command, as its other steps before exec must come before ours: between ours and
    /// exec, the process can open no file, because we are waiting for exec and answer nothing.
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
        // SAFETY: an OwnedFd stands for the same open file for as long as the AsyncFd holds it.
        let listener = unsafe { AsyncFd::register_with_interest(listener, ANNOUNCED) }?;
        let open = Arc::default();
        Ok(Self { listener, open })
    }

    /// Answers what needs no decision until something happens. Can be dropped and called again.
    ///
    /// # Errors
    /// `Unsupported` when we may not look into the process, which shows at the first file that it
    /// opens.
    pub(crate) async fn next(&mut self) -> Result<Event, GateError> {
        loop {
            // A process that opens file after file must not keep us from everything else.
            coop::consume_budget().await;
            // Readiness, as tokio knows it, may be of the past, so the listener is asked first.
            match notify::waiting(self.listener.as_fd()) {
                Ok(Waiting::Call) => {
                    if let Some(pending) = self.answer()? {
                        return Ok(Event::AtTheDoor(pending));
                    }
                }
                Ok(Waiting::Gone) => return Ok(Event::Gone),
                Ok(Waiting::Nothing) => {
                    let ready = self.listener.ready(ANNOUNCED).await;
                    // What comes from here on is announced again.
                    ready
                        .map_err(|error| broken("waiting", error))?
                        .clear_ready();
                }
                Err(error) => return Err(broken("waiting", error)),
            }
        }
    }

    /// What lets this scheduler in. It must not be used any more once the scheduler was refused.
    ///
    /// # Errors
    /// When there are too many open files.
    pub(crate) fn opener(&self, pending: &Pending) -> Result<Opener, GateError> {
        let listener = self.listener.get_ref().try_clone();
        Ok(Opener {
            listener: listener.map_err(|error| broken("its opener", error))?,
            open: Arc::clone(&self.open),
            pending: pending.id,
        })
    }

    /// Whether a scheduler was let in.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Lets attaching fail. The gate stays closed.
    ///
    /// # Errors
    /// Not when it has gone meanwhile, which [`Gate::next`] tells.
    #[expect(clippy::needless_pass_by_value, reason = "it is answered once")]
    pub(crate) fn refuse(&mut self, pending: Pending, errno: Errno) -> Result<(), GateError> {
        answered(notify::fail(self.listener.as_fd(), pending.id, errno))
    }

    /// Answers the call that waits, unless it is that of a scheduler at the closed door.
    fn answer(&mut self) -> Result<Option<Pending>, GateError> {
        let call = match notify::receive(self.listener.as_fd()) {
            Ok(call) => call,
            // Its thread was killed or went to handle a signal, after which it calls again.
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(broken("receiving a call", error)),
        };
        if !self.is_open() {
            let (opens_state, attaches) = match (call.opens(STATE), call.attaches_scheduler()) {
                (Ok(opens_state), Ok(attaches)) => (opens_state, attaches),
                (Err(error), _) | (_, Err(error)) => {
                    // So that the process hears the signal with which it is then stopped.
                    self.proceed(call.id)?;
                    let step = "reading a process's memory";
                    return Err(GateError::Unsupported { step, error });
                }
            };
            if opens_state {
                self.tell_that_there_is_no_scheduler(call.id)?;
                return Ok(None);
            }
            if attaches {
                let waits = notify::still_waits(self.listener.as_fd(), call.id);
                return Ok(waits.then_some(Pending {
                    id: call.id,
                    thread: call.thread.as_raw(),
                }));
            }
        }
        self.proceed(call.id).map(|()| None)
    }

    /// In another thread, as the kernel lets us wait until the caller has been scheduled.
    fn tell_that_there_is_no_scheduler(&self, id: u64) -> Result<(), GateError> {
        let listener = self.listener.get_ref().try_clone();
        let listener = listener.map_err(|error| broken("another thread", error))?;
        spawn_blocking(move || {
            let listener = listener.as_fd();
            match notify::give(listener, id, NO_SCHEDULER) {
                Ok(()) | Err(Errno::ENOENT) => {}
                // As if opening had failed: there are too many open files, here or there.
                Err(error) => {
                    tracing::warn!("the state of sched_ext cannot be given: {error}");
                    let _ = notify::fail(listener, id, error);
                }
            }
        });
        Ok(())
    }

    fn proceed(&self, id: u64) -> Result<(), GateError> {
        answered(notify::proceed(self.listener.as_fd(), id))
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
