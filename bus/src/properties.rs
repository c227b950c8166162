//! org.freedesktop.DBus.Properties of an object: everybody may read, up to a limit for each user.
//!
//! Replaces the library's own, which knows no limits. What the properties are is in the object's interface.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use zbus::message::Header;
use zbus::names::InterfaceName;
use zbus::object_server::{Interface, InterfaceRef, SignalEmitter};
use zbus::{Connection, ObjectServer, OwnedVariant, Variant, fdo, interface};

use crate::authorization::Authorization;

/// org.freedesktop.DBus.Properties of an object whose interface is `I`.
///
/// It keeps no reference to the object: that has the connection, whose own this is, and neither would ever end.
pub struct Properties<I> {
    path: &'static str,
    authorization: Arc<Authorization>,
    of: PhantomData<fn() -> I>,
}

impl<I: Interface> Properties<I> {
    /// Replaces the library's on `connection`, of the object at `path`.
    ///
    /// # Errors
    /// When there is no object.
    pub async fn install(
        connection: &Connection,
        path: &'static str,
        authorization: Arc<Authorization>,
    ) -> zbus::Result<()> {
        let server = connection.object_server();
        server.remove::<fdo::Properties, _>(path).await?;
        let properties = Self {
            path,
            authorization,
            of: PhantomData,
        };
        server.at(path, properties).await?;
        Ok(())
    }

    /// Whether the interface is the object's own.
    fn has(interface: &InterfaceName<'_>) -> fdo::Result<()> {
        if *interface == I::name() {
            return Ok(());
        }
        Err(fdo::Error::UnknownInterface(format!(
            "no properties of `{interface}` here"
        )))
    }
}

#[interface(name = "org.freedesktop.DBus.Properties", introspection_docs = false)]
impl<I: Interface> Properties<I> {
    async fn get(
        &self,
        interface_name: InterfaceName<'_>,
        property_name: &str,
        #[zbus(connection)] bus: &Connection,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedVariant, zbus::BoxDBusError> {
        Self::has(&interface_name)?;
        self.authorization.read_properties(bus, &header).await?;
        let object: InterfaceRef<I> = server.interface(self.path).await?;
        let object = object.get().await;
        let value = object
            .get(property_name, server, bus, Some(&header), &emitter)
            .await;
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
        Self::has(&interface_name)?;
        self.authorization.read_properties(bus, &header).await?;
        let object: InterfaceRef<I> = server.interface(self.path).await?;
        let object = object.get().await;
        object.get_all(server, bus, Some(&header), &emitter).await
    }

    async fn set(
        &self,
        interface_name: InterfaceName<'_>,
        property_name: &str,
        _value: &Variant<'_>,
    ) -> fdo::Result<()> {
        Self::has(&interface_name)?;
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
