//! The name org.scx.Loader, which is taken while the policy has the interface offered, and what is announced of it.

use std::collections::HashMap;
use std::sync::Arc;

use auto_ext_bus::authorization::Authorization;
use auto_ext_bus::properties::Properties;
use futures_util::StreamExt as _;
use zbus::names::InterfaceName;
use zbus::object_server::InterfaceRef;
use zbus::{Connection, Variant, fdo};

use super::scx_loader::{NAME, PATH, ScxLoader, current};
use crate::api::status::{Current, DaemonStatus, LoaderStatus};

/// The interface on a connection, offered or not.
pub(super) struct Offer {
    connection: Connection,
    object: InterfaceRef<ScxLoader>,
    /// Comes when nobody has the name any more.
    free: fdo::NameOwnerChangedStream,
    /// The properties as they were announced last; `None` while it is not offered.
    announced: Option<Announced>,
    /// Somebody else's service has the name and does not give it away.
    taken: bool,
}

/// The properties that change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Announced {
    scheduler: String,
    mode: u32,
    arguments: Vec<String>,
}

impl Announced {
    fn of(now: &Current, status: &LoaderStatus) -> Self {
        Self {
            scheduler: current(now),
            mode: status.mode(now).number(),
            arguments: status.arguments(now).to_vec(),
        }
    }

    /// What differs from `before`.
    fn changes(&self, before: Option<&Self>) -> HashMap<&'static str, Variant<'static>> {
        let mut changed = HashMap::new();
        if before.is_none_or(|before| before.scheduler != self.scheduler) {
            changed.insert("CurrentScheduler", self.scheduler.clone().into());
        }
        if before.is_none_or(|before| before.mode != self.mode) {
            changed.insert("SchedulerMode", self.mode.into());
        }
        if before.is_none_or(|before| before.arguments != self.arguments) {
            changed.insert("CurrentSchedulerArgs", self.arguments.clone().into());
        }
        changed
    }
}

impl Offer {
    /// Prepares the object; nobody finds it before it is offered.
    pub(super) async fn prepare(
        connection: &Connection,
        object: ScxLoader,
        authorization: Arc<Authorization>,
    ) -> zbus::Result<Self> {
        connection.object_server().at(PATH, object).await?;
        Properties::<ScxLoader>::install(connection, PATH, authorization).await?;
        let free = fdo::DBusProxy::new(connection).await?;
        let free = free
            .receive_name_owner_changed_with_args(&[(0, NAME), (2, "")])
            .await?;
        Ok(Self {
            connection: connection.clone(),
            object: connection.object_server().interface(PATH).await?,
            free,
            announced: None,
            taken: false,
        })
    }

    /// Offers the interface or not, as `status` says, and announces what changed.
    pub(super) async fn show(&mut self, now: &Current, status: &DaemonStatus) -> zbus::Result<()> {
        let Some(status) = &status.scx_loader else {
            self.taken = false;
            if self.announced.take().is_some() {
                self.connection.release_name(NAME).await?;
            }
            return Ok(());
        };
        if self.announced.is_none() {
            self.take_name().await?;
        }
        let announced = Announced::of(now, status);
        let changed = announced.changes(self.announced.as_ref());
        if !changed.is_empty() {
            let name = InterfaceName::from_static_str_unchecked(NAME);
            let emitter = self.object.signal_emitter();
            fdo::Properties::properties_changed(emitter, name, changed, [].as_slice().into())
                .await?;
        }
        self.announced = Some(announced);
        Ok(())
    }

    /// Waits until the name is free that somebody else had. Can be dropped and called again.
    pub(super) async fn name_is_free(&mut self) {
        loop {
            match self.free.next().await {
                Some(_) if self.taken => return,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Takes the name, also from a service that lets others have it, as scx_loader does.
    pub(super) async fn take_name(&mut self) -> zbus::Result<()> {
        let flags = fdo::RequestNameFlags::REPLACE_EXISTING | fdo::RequestNameFlags::DO_NOT_QUEUE;
        self.taken = match self.connection.request_name_with_flags(NAME, flags).await {
            Ok(_) => false,
            Err(zbus::Error::NameTaken) => {
                tracing::warn!(
                    "{NAME} belongs to another service; it is offered when that has ended"
                );
                true
            }
            Err(error @ (zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => {
                tracing::warn!(
                    "{NAME} cannot be had: {error} (is the D-Bus policy file installed?)"
                );
                true
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }
}
