//! org.freedesktop.DBus.Properties of the objects: everybody may read, up to a limit for each user.
//!
//! Replaces the library's own, which knows no limits. What the properties are is in `interface`
//! and `scx_loader`.

use std::collections::HashMap;
use std::sync::Arc;

use zbus::message::Header;
use zbus::names::InterfaceName;
use zbus::object_server::{Interface as _, InterfaceRef, SignalEmitter};
use zbus::{Connection, ObjectServer, OwnedVariant, Variant, fdo, interface};

use super::address::{NAME, PATH};
use super::authorization::Authorization;
use super::interface::AutoExt;
use super::scx_loader;
use super::scx_loader::ScxLoader;

/// org.freedesktop.DBus.Properties of an object.
///
/// It keeps no reference to the object: that has the connection, whose own this is, and neither would ever end.
pub(super) struct Properties {
    object: Object,
    authorization: Arc<Authorization>,
}

/// Whose properties they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    AutoExt,
    ScxLoader,
}

impl Object {
    fn path(self) -> &'static str {
        match self {
            Self::AutoExt => PATH,
            Self::ScxLoader => scx_loader::PATH,
        }
    }

    /// Whether the interface is the object's own.
    fn has(self, interface: &InterfaceName<'_>) -> fdo::Result<()> {
        let own = match self {
            Self::AutoExt => NAME,
            Self::ScxLoader => scx_loader::NAME,
        };
        if interface.as_str() == own {
            return Ok(());
        }
        Err(fdo::Error::UnknownInterface(format!(
            "no properties of `{interface}` here"
        )))
    }
}

impl Properties {
    /// Replaces the library's on `connection`.
    pub(super) async fn install(
        connection: &Connection,
        object: Object,
        authorization: Arc<Authorization>,
    ) -> zbus::Result<()> {
        let (server, path) = (connection.object_server(), object.path());
        server.remove::<fdo::Properties, _>(path).await?;
        let properties = Self {
            object,
            authorization,
        };
        server.at(path, properties).await?;
        Ok(())
    }
}

#[interface(name = "org.freedesktop.DBus.Properties", introspection_docs = false)]
impl Properties {
    async fn get(
        &self,
        interface_name: InterfaceName<'_>,
        property_name: &str,
        #[zbus(connection)] bus: &Connection,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedVariant, zbus::BoxDBusError> {
        self.object.has(&interface_name)?;
        self.authorization.read_properties(bus, &header).await?;
        let header = Some(&header);
        let value = match self.object {
            Object::AutoExt => {
                let object: InterfaceRef<AutoExt> = server.interface(PATH).await?;
                let object = object.get().await;
                object
                    .get(property_name, server, bus, header, &emitter)
                    .await
            }
            Object::ScxLoader => {
                let object: InterfaceRef<ScxLoader> = server.interface(scx_loader::PATH).await?;
                let object = object.get().await;
                object
                    .get(property_name, server, bus, header, &emitter)
                    .await
            }
        };
        value.unwrap_or_else(|| {
            Err(fdo::Error::UnknownProperty(format!("no property `{property_name}`")).into())
        })
    }

    async fn get_all(
        &self,
        interface_name: InterfaceName<'_>,
        #[zbus(connection)] bus: &Connection,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        self.object.has(&interface_name)?;
        self.authorization.read_properties(bus, &header).await?;
        let header = Some(&header);
        match self.object {
            Object::AutoExt => {
                let object: InterfaceRef<AutoExt> = server.interface(PATH).await?;
                let object = object.get().await;
                object.get_all(server, bus, header, &emitter).await
            }
            Object::ScxLoader => {
                let object: InterfaceRef<ScxLoader> = server.interface(scx_loader::PATH).await?;
                let object = object.get().await;
                object.get_all(server, bus, header, &emitter).await
            }
        }
    }

    async fn set(
        &self,
        interface_name: InterfaceName<'_>,
        property_name: &str,
        _value: &Variant<'_>,
    ) -> fdo::Result<()> {
        self.object.has(&interface_name)?;
        Err(fdo::Error::PropertyReadOnly(format!(
            "`{property_name}` can only be read"
        )))
    }

    #[zbus(signal)]
    async fn properties_changed(
        emitter: &SignalEmitter<'_>,
        interface_name: InterfaceName<'_>,
        changed_properties: HashMap<&str, Variant<'_>>,
        invalidated_properties: Vec<&str>,
    ) -> zbus::Result<()>;
}
