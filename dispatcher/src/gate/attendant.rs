//! The thread that serves a gate: it answers what needs no decision, and tells of the rest.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::sync::mpsc;

use super::notify::{self, Waiting};
use super::{Event, GateError, NO_SCHEDULER, Pending, STATE, Shared, answered, broken};
use crate::priority::First;

/// Several times what the deepest call takes; of a stack only what is used is memory.
const STACK: usize = 128 << 10;
/// After what should not happen, so that it cannot happen without end.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Attendant {
    pub(super) listener: OwnedFd,
    pub(super) shared: Arc<Shared>,
    /// Ends when the gate is dropped.
    pub(super) ended: PipeReader,
    pub(super) tell: mpsc::Sender<Result<Event, GateError>>,
}

impl Attendant {
    pub(super) fn start(self) -> io::Result<()> {
        let thread = thread::Builder::new()
            .name("gate".to_owned())
            .stack_size(STACK);
        thread.spawn(move || self.serve()).map(drop)
    }

    fn serve(self) {
        // They are for other threads, and interrupt calls.
        let _ = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        let first = First::this();
        let goes_first = first.is_some();
        self.shared.goes_first.store(goes_first, Ordering::Release);
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
            let is_broken = matches!(event, Err(GateError::Broken { .. }));
            // Without a listener, the gate has been dropped.
            if self.tell.blocking_send(event).is_err() {
                return;
            }
            if is_broken {
                thread::sleep(PAUSE);
            }
        }
        let Self {
            listener,
            ended,
            tell,
            ..
        } = self;
        drop((listener, ended));
        let _ = tell.blocking_send(Ok(Event::Gone));
    }

    /// Answers the call that waits, unless it is that of a scheduler at the closed door. Who is `blind` cannot
    /// tell calls apart and lets all of them through.
    fn answer(&self, blind: &mut bool) -> Result<Option<Event>, GateError> {
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
                    return Err(GateError::Unsupported { step, error });
                }
            };
            if opens_state {
                return self.tell_that_there_is_no_scheduler(call.id).map(|()| None);
            }
            if attaches {
                let waits = notify::still_waits(self.listener.as_fd(), call.id);
                return Ok(waits.then_some(Event::AtTheDoor(Pending {
                    id: call.id,
                    thread: call.thread.as_raw(),
                })));
            }
        }
        self.proceed(call.id).map(|()| None)
    }

    /// The kernel lets us wait until the caller has been scheduled.
    fn tell_that_there_is_no_scheduler(&self, id: u64) -> Result<(), GateError> {
        let listener = self.listener.as_fd();
        match notify::give(listener, id, NO_SCHEDULER) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            // As if opening had failed: there are too many open files, here or there.
            Err(error) => answered(notify::fail(listener, id, error)),
        }
    }

    fn proceed(&self, id: u64) -> Result<(), GateError> {
        answered(notify::proceed(self.listener.as_fd(), id))
    }
}
