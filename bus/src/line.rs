//! The line to a bus, which may be lost at any time and is then joined again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zbus::Connection;

use crate::authorization::Authorization;
use crate::join::{BusError, BusKind, connect, take_name};

/// How long the bus may take for a message.
const SENT_WITHIN: Duration = Duration::from_secs(1);
/// How long it may take to connect and to get the name.
const JOINED_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before it is joined again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// What a service offers on a bus.
pub trait Offer: Send + Sync {
    /// The name that it has there.
    const NAME: &'static str;

    /// Puts the objects there, before the name is taken.
    fn install(
        &self,
        bus: &Connection,
        authorization: &Arc<Authorization>,
    ) -> impl Future<Output = zbus::Result<()>> + Send;

    /// Waits until there is something to be announced. Can be dropped and called again.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// Announces it.
    fn announce(&mut self, bus: &Connection) -> impl Future<Output = zbus::Result<()>> + Send;
}

/// Joins the bus; none where there is to be none.
///
/// # Errors
/// When it cannot be reached, does not answer in time or does not give the name.
async fn join<O: Offer>(kind: BusKind, offer: &O) -> Result<Option<Connection>, BusError> {
    let joining = async {
        let Some(connection) = connect(kind).await? else {
            return Ok(None);
        };
        let authorization = Arc::new(Authorization::new());
        offer.install(&connection, &authorization).await?;
        take_name(&connection, O::NAME).await?;
        Ok(Some(connection))
    };
    let no_answer = || {
        let within = JOINED_WITHIN.as_secs();
        let why = format!("no answer within {within} s");
        Err(BusError::Other(zbus::Error::Failure(why)))
    };
    timeout(JOINED_WITHIN, joining)
        .await
        .unwrap_or_else(|_| no_answer())
}

/// Serves the bus for ever: what is offered works all the same without one, and it is joined when it is there. `joined` is called each
/// time.
///
/// # Errors
/// When the first bus is there and does not give the name: then another service has it, or its policy is not installed.
pub async fn serve<O: Offer>(
    kind: BusKind,
    mut offer: O,
    mut joined: impl FnMut() + Send,
) -> Result<(), BusError> {
    let [first, longest] = PAUSES;
    let mut pause = first;
    let mut is_first = true;
    let mut said = false;
    loop {
        match join(kind, &offer).await {
            Ok(None) => std::future::pending().await,
            Ok(Some(connection)) => {
                (pause, said) = (first, false);
                joined();
                serve_one(&connection, &mut offer).await;
            }
            Err(error) if error.is_final() && is_first => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!("not on D-Bus until it is there: {error}");
                }
            }
        }
        is_first = false;
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Serves this bus to its end.
async fn serve_one<O: Offer>(connection: &Connection, offer: &mut O) {
    let gone = connection.clone();
    let gone = async move { gone.closed().await };
    tokio::pin!(gone);
    loop {
        tokio::select! {
            biased;
            () = &mut gone => {
                tracing::warn!("D-Bus has gone; it is waited for");
                return;
            }
            () = offer.changed() => {
                let sent = timeout(SENT_WITHIN, offer.announce(connection)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    tracing::warn!("D-Bus takes no messages; it is joined again");
                    // Dropping it is not enough, as others hold it too. Closing it may have to wait for what is half sent.
                    tokio::spawn(connection.clone().close());
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Offer for Nothing {
        const NAME: &'static str = "org.example.Nothing";

        async fn install(&self, _: &Connection, _: &Arc<Authorization>) -> zbus::Result<()> {
            panic!("there is no bus to install it on");
        }

        async fn changed(&mut self) {
            panic!("there is nobody to tell");
        }

        async fn announce(&mut self, _: &Connection) -> zbus::Result<()> {
            panic!("there is nobody to tell");
        }
    }

    #[tokio::test]
    async fn who_wants_no_bus_has_none_and_goes_on() {
        let serving = serve(BusKind::None, Nothing, || panic!("joined nothing"));
        assert!(timeout(Duration::from_millis(20), serving).await.is_err());
    }
}
