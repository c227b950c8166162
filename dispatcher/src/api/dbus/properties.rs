//! org.freedesktop.DBus.Properties of the object: everybody may read, up to a limit for each user.
//!
//! Replaces the library's own, which knows no limits. What the properties are is in `interface`.

use std::collections::HashMap;
use std::sync::Arc;

use zbus::message::Header;
use zbus::names::InterfaceName;
use zbus::object_server::{Interface as _, InterfaceRef, SignalEmitter};
use zbus::{Connection, ObjectServer, OwnedVariant, Variant, fdo, interface};

use super::address::{NAME, PATH};
use super::authorization::Authorization;
use super::interface::AutoExt;

/// org.freedesktop.DBus.Properties of the object.
///
/// It keeps no reference to the object: that has the connection, whose own this is, and neither would ever end.
pub(super) struct Properties {
    authorization: Arc<Authorization>,
}

impl Properties {
    /// Replaces the library's on `connection`.
    pub(super) async fn install(
        connection: &Connection,
        authorization: Arc<Authorization>,
    ) -> zbus::Result<()> {
        let server = connection.object_server();
        server.remove::<fdo::Properties, _>(PATH).await?;
        server.at(PATH, Self { authorization }).await?;
        Ok(())
    }
}

fn is_ours(name: &InterfaceName<'_>) -> fdo::Result<()> {
    if name.as_str() == NAME {
        return Ok(());
    }
    Err(fdo::Error::UnknownInterface(format!(
        "no properties of `{name}` here"
    )))
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
        is_ours(&interface_name)?;
        self.authorization.read_properties(bus, &header).await?;
        let object: InterfaceRef<AutoExt> = server.interface(PATH).await?;
        let object = object.get().await;
        let value = object.get(property_name, server, bus, Some(&header), &emitter);
        value.await.unwrap_or_else(|| {
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
        is_ours(&interface_name)?;
        self.authorization.read_properties(bus, &header).await?;
        let object: InterfaceRef<AutoExt> = server.interface(PATH).await?;
        let object = object.get().await;
        let values = object.get_all(server, bus, Some(&header), &emitter);
        values.await
    }

    async fn set(
        &self,
        interface_name: InterfaceName<'_>,
        property_name: &str,
        _value: &Variant<'_>,
    ) -> fdo::Result<()> {
        is_ours(&interface_name)?;
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
