//! The desktop, which shows notices: org.freedesktop.Notifications on the session bus, see the Desktop Notifications
//! Specification.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::timeout;
use zbus::{Connection, Proxy, Variant};

use super::notices::Notice;

const NAME: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
/// How long it may take to show a notice; a server may have to be started for it.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// A name of the Icon Naming Specification.
const ICON: &str = "dialog-warning";
/// For how long it is shown: as the desktop sees fit.
const EXPIRE: i32 = -1;

/// The session bus, connected when it is needed.
#[derive(Default)]
pub(super) struct Desktop {
    connection: Option<Connection>,
}

impl Desktop {
    /// Shows a notice.
    ///
    /// # Errors
    /// When there is no session bus, or nobody on it who shows notices. The bus is then connected again for the next one.
    pub(super) async fn show(&mut self, notice: &Notice) -> anyhow::Result<()> {
        let shown = timeout(SHOWN_WITHIN, self.notify(notice)).await;
        let shown = shown.unwrap_or_else(|_| Err(zbus::Error::Failure("no answer".to_owned())));
        if shown.is_err() {
            self.connection = None;
        }
        shown.context("the desktop shows no notices")
    }

    async fn notify(&mut self, notice: &Notice) -> zbus::Result<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::session().await?,
        };
        let server = Proxy::new(&connection, NAME, PATH, NAME).await?;
        let no_actions: &[&str] = &[];
        let no_hints: HashMap<&str, Variant<'_>> = HashMap::new();
        let replaces = 0_u32;
        let body = (
            "auto-ext",
            replaces,
            ICON,
            &notice.summary,
            &notice.body,
            no_actions,
            no_hints,
            EXPIRE,
        );
        let _id: u32 = server.call("Notify", &body).await?;
        self.connection = Some(connection);
        Ok(())
    }
}
