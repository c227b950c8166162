//! How other services on the system bus are followed: which signals are listened for, and that a question is asked anew when
//! one came. What is asked, and what the answers mean, is in `session` and `inhibitors`.
//!
//! None of these services is started by asking: signals are listened for, and a question is put only to a service that is on
//! the bus already.
//!
//! Anybody can send us signals. The connection receives nothing more once one of its queues is full, so each is emptied
//! whatever else is waited for; else an answer would never come.

use std::num::NonZero;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt as _, select};
use tokio::sync::watch;
use tokio::time::sleep;
use zbus::fdo::DBusProxy;
use zbus::{Connection, MatchRule, MessageStream, message};

/// How many signals may wait to be read.
const QUEUED: usize = 16;
/// How long a service may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The least time between two questions, however many signals come.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(100);

/// logind's name, path and interface.
pub(super) const LOGIND: (&str, &str, &str) = (
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
);

/// The signals called `member` from the owner of the name `sender`, which need not be on the bus yet. Anybody else can send
/// such signals to us alone, and these are among them.
pub(super) async fn signals(
    bus: &Connection,
    sender: &'static str,
    interface: &'static str,
    member: &'static str,
) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .sender(sender)
        .interface(interface)
        .member(member)
        .build();
    MessageStream::for_match_rule(rule?, bus, NonZero::new(QUEUED)).await
}

/// An item whenever a property of the service called `name` may have changed: it says so, or comes or goes.
pub(super) async fn changes(
    bus: &Connection,
    names: &DBusProxy<'_>,
    name: &'static str,
) -> zbus::Result<impl Stream<Item = ()> + Unpin + Send + use<>> {
    let interface = "org.freedesktop.DBus.Properties";
    let changed = signals(bus, name, interface, "PropertiesChanged").await?;
    let owned = [(0, name)];
    let owner = names.receive_name_owner_changed_with_args(&owned).await?;
    Ok(select(changed.map(drop), owner.map(drop)))
}

/// Is told of changes, which are received whatever else is waited for.
pub(super) struct Changed(watch::Receiver<()>);

impl Changed {
    /// Is told of these until it is dropped.
    pub(super) fn new(mut changes: impl Stream<Item = ()> + Unpin + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    change = changes.next() => match change {
                        Some(()) => sender.send_replace(()),
                        None => return,
                    },
                };
            }
        });
        Self(receiver)
    }

    /// Waits until it is time to ask anew.
    ///
    /// # Errors
    /// When the bus is gone.
    pub(super) async fn wait(&mut self) -> zbus::Result<()> {
        sleep(ASK_EVERY).await;
        self.0.changed().await.map_err(|_| gone())
    }
}

/// The bus has closed the connection.
pub(super) fn gone() -> zbus::Error {
    zbus::Error::Failure("the bus has gone".to_owned())
}
