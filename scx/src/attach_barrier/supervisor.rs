//! The thread that supervises an attach barrier: it answers the calls that need no decision, and reports
//! the others.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::sync::mpsc;

use super::error::{BarrierError, answered, broken};
use super::notify::{self, Waiting};
use crate::realtime::RealtimeGuard;

pub(super) const STATE: &str = "/sys/kernel/sched_ext/state";
pub(super) const NO_SCHEDULER: &str = "disabled\n";
/// Several times what the deepest call takes; of a stack only what is used is memory.
const STACK: usize = 128 << 10;
/// After what should not happen, so that it cannot happen without end.
const PAUSE: Duration = Duration::from_secs(1);

/// What happens at an attach barrier.
#[derive(Debug)]
pub enum Event {
    /// A scheduler is loaded, verified and about to attach. It waits for
    /// [`AttachPermit::open`](super::AttachPermit::open) or
    /// [`AttachBarrier::refuse`](super::AttachBarrier::refuse); until then, its thread handles no signal
    /// but those that kill. To end it the clean way, refuse it first.
    AttachPending(Pending),
    /// No process behind the barrier is left, nor will there be.
    Gone,
}

/// A scheduler that waits to attach. Dropping this leaves it waiting.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    pub(super) id: u64,
    thread: i32,
}

impl Pending {
    /// The number (TID) of the thread that is to attach it.
    #[must_use]
    pub fn thread(&self) -> i32 {
        self.thread
    }
}

/// What an attach barrier and its supervisor know of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) open: AtomicBool,
    pub(super) supervisor_is_realtime: AtomicBool,
}

pub(super) struct Supervisor {
    pub(super) listener: OwnedFd,
    pub(super) shared: Arc<Shared>,
    /// Ends when the barrier is dropped.
    pub(super) ended: PipeReader,
    pub(super) events: mpsc::Sender<Result<Event, BarrierError>>,
}

impl Supervisor {
    pub(super) fn start(self) -> io::Result<()> {
        let thread = thread::Builder::new()
            .name("attach-barrier".to_owned())
            .stack_size(STACK);
        thread.spawn(move || self.supervise()).map(drop)
    }

    fn supervise(self) {
        // They are for other threads, and interrupt calls.
        let _ = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        let realtime = RealtimeGuard::this();
        let is_realtime = realtime.is_some();
        self.shared
            .supervisor_is_realtime
            .store(is_realtime, Ordering::Release);
        let mut blind = false;
        loop {
            let event = match notify::wait(self.listener.as_fd(), self.ended.as_fd()) {
                Ok(Waiting::Call) => self.answer(&mut blind),
                Ok(Waiting::Gone) => break,
                Ok(Waiting::Ended) => return,
                Err(error) => Err(broken("waiting", error)),
            };
            let Some(event) = event.transpose() else {
                continue;
            };
            let is_broken = matches!(event, Err(BarrierError::Broken { .. }));
            // Without a receiver, the barrier has been dropped.
            if self.events.blocking_send(event).is_err() {
                return;
            }
            if is_broken {
                thread::sleep(PAUSE);
            }
        }
        let Self {
            listener,
            ended,
            events,
            ..
        } = self;
        drop((listener, ended));
        let _ = events.blocking_send(Ok(Event::Gone));
    }

    /// Answers the call that waits, unless it is that of a scheduler which is to wait at the barrier. Once
    /// `blind`, it cannot tell calls apart and lets all of them through.
    fn answer(&self, blind: &mut bool) -> Result<Option<Event>, BarrierError> {
        let call = match notify::receive(self.listener.as_fd()) {
            Ok(call) => call,
            // Its thread was killed or went to handle a signal, after which it calls again.
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(broken("receiving a call", error)),
        };
        if !*blind && !self.shared.open.load(Ordering::Acquire) {
            let (opens_state, attaches) = match (call.opens(STATE), call.attaches_scheduler()) {
                (Ok(opens_state), Ok(attaches)) => (opens_state, attaches),
                (Err(error), _) | (_, Err(error)) => {
                    // So that the process hears the signal with which it is then stopped.
                    *blind = true;
                    self.proceed(call.id)?;
                    let step = "reading a process's memory";
                    return Err(BarrierError::Unsupported { step, error });
                }
            };
            if opens_state {
                return self.say_no_scheduler(call.id).map(|()| None);
            }
            if attaches {
                let waits = notify::still_waits(self.listener.as_fd(), call.id);
                return Ok(waits.then_some(Event::AttachPending(Pending {
                    id: call.id,
                    thread: call.thread.as_raw(),
                })));
            }
        }
        self.proceed(call.id).map(|()| None)
    }

    /// Has the process read that no scheduler is enabled. The kernel lets us wait until the caller has been
    /// scheduled.
    fn say_no_scheduler(&self, id: u64) -> Result<(), BarrierError> {
        let listener = self.listener.as_fd();
        match notify::give(listener, id, NO_SCHEDULER) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            // As if opening had failed: there are too many open files, here or there.
            Err(error) => answered(notify::fail(listener, id, error)),
        }
    }

    fn proceed(&self, id: u64) -> Result<(), BarrierError> {
        answered(notify::proceed(self.listener.as_fd(), id))
    }
}
