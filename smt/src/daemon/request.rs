//! What callers ask of the daemon, and the way there and back.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use tokio::sync::oneshot;

/// What the loop waits for.
pub(super) enum Input {
    /// A caller asks.
    Ask(Request, oneshot::Sender<String>),
    /// The service is on the bus.
    Joined,
    /// It cannot be.
    NoBus(String),
    /// The configuration is to be read again.
    Reload,
    /// The daemon is to end.
    Stop,
}

/// What a caller asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Place nothing for so long; `None`: until resumed.
    Pause(Option<Duration>),
    /// Place again.
    Resume,
    /// Undo what was placed.
    Restore,
    /// Try what there is as soon as that may be.
    Trial,
    /// What would be tried.
    Plan,
    /// The metrics, as text.
    Metrics,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("too many ask, try again in a second")]
    TooMany,
    #[error("the service ends")]
    Ends,
}

/// The way to the loop.
#[derive(Clone, Debug)]
pub(super) struct Requests(SyncSender<Input>);

impl Requests {
    pub(super) fn new(inputs: SyncSender<Input>) -> Self {
        Self(inputs)
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, request: Request) -> Result<String, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        match self.0.try_send(Input::Ask(request, reply)) {
            Ok(()) => answer.await.map_err(|_| NoAnswer::Ends),
            Err(TrySendError::Full(_)) => Err(NoAnswer::TooMany),
            Err(TrySendError::Disconnected(_)) => Err(NoAnswer::Ends),
        }
    }
}
