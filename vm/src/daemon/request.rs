//! What callers ask of the service, which answers in texts.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

/// How many requests may wait.
const WAITING: usize = 32;
/// The longest pause; a longer one has no end.
pub const MAX_PAUSE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest name of a guest, in bytes.
pub const MAX_NAME: usize = 255;

/// Something that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What is so now, as JSON.
    Status,
    /// What is done about one guest, and why.
    Why(String),
    /// The last so many events, as JSON.
    History(usize),
    /// What is counted and measured, for Prometheus.
    Metrics,
    /// Nothing is to be changed for so long; `None`: until a person says otherwise.
    Pause(Option<Duration>),
    /// Whatever was in the way is not any more: a pause, pins that did no good, a guest that was lost.
    Resume,
    /// A guest is to be left alone, also when it is started again.
    Exclude(String),
    /// It is not any more.
    Include(String),
    /// What was found is to be put back, of this guest or of all, and left so as long as they run.
    Release(Option<String>),
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not for this service to do.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be done now.
    #[error("{0}")]
    Unavailable(String),
    /// Too much is asked.
    #[error("too many requests wait; try again in a moment")]
    TooMuch,
}

/// A request and where its answer goes.
#[derive(Debug)]
pub struct Queued {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<String, Refusal>>,
}

/// Something that the loop waits for.
#[derive(Debug)]
pub(super) enum Message {
    Request(Queued),
    Reload,
    End,
}

/// Where requests are put.
#[derive(Clone, Debug)]
pub struct Requests {
    queue: SyncSender<Message>,
}

impl Requests {
    /// With the other end.
    pub(super) fn channel() -> (Self, Receiver<Message>) {
        let (queue, asked) = sync_channel(WAITING);
        (Self { queue }, asked)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// As the service says, or when it has too much to do or ends.
    pub async fn ask(&self, request: Request) -> Result<String, Refusal> {
        request.check()?;
        let (answer, answered) = oneshot::channel();
        let queued = Message::Request(Queued { request, answer });
        self.queue.try_send(queued).map_err(|_| Refusal::TooMuch)?;
        let ends = || Refusal::Unavailable("the service ends".to_owned());
        answered.await.map_err(|_| ends())?
    }

    /// Has the service read its configuration again.
    pub(super) fn reload(&self) {
        // Where it ends there is nobody to read it.
        let _ = self.queue.send(Message::Reload);
    }

    /// Has the service end.
    pub(super) fn end(&self) {
        // Whoever waits for room is a thread of its own.
        let _ = self.queue.send(Message::End);
    }
}

impl Request {
    /// Whether it can be meant at all; before a person is asked, which may take minutes.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(&self) -> Result<(), Refusal> {
        let name = match self {
            Self::Why(name) | Self::Exclude(name) | Self::Include(name) => Some(name),
            Self::Release(name) => name.as_ref(),
            Self::Pause(Some(lasts)) if lasts.is_zero() || *lasts > MAX_PAUSE => {
                let message = "a pause lasts from 1 s to 30 days, or until it is ended";
                return Err(Refusal::Invalid(message.to_owned()));
            }
            _ => None,
        };
        let is_wrong = |name: &&String| {
            name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control)
        };
        match name.filter(is_wrong) {
            Some(_) => Err(Refusal::Invalid("no guest has such a name".to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_meant_or_is_too_much_is_refused() {
        let (requests, queue) = Requests::channel();
        for wrong in [
            Request::Why(String::new()),
            Request::Exclude("a\nb".to_owned()),
            Request::Release(Some("x".repeat(256))),
            Request::Pause(Some(Duration::ZERO)),
            Request::Pause(Some(2 * MAX_PAUSE)),
        ] {
            let refused = requests.ask(wrong.clone()).await;
            assert!(matches!(refused, Err(Refusal::Invalid(_))), "{wrong:?}");
        }
        for _ in 0..WAITING {
            let (answer, _) = oneshot::channel();
            let request = Request::Status;
            let queued = Message::Request(Queued { request, answer });
            requests.queue.try_send(queued).unwrap();
        }
        assert_eq!(requests.ask(Request::Status).await, Err(Refusal::TooMuch));
        drop(queue);
    }
}
