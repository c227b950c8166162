//! What the service can reach, by the settings of its unit as systemd has them, or by those that are shipped where systemd
//! does not know the unit.

use std::time::Duration;

use auto_ext_service::file_access::Reader;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zbus::proxy::CacheProperties;
use zbus::{Connection, Proxy};

/// How long systemd may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

const SYSTEMD: &str = "org.freedesktop.systemd1";
/// `auto-ext.service`, as systemd escapes it.
const UNIT: &str = "/org/freedesktop/systemd1/unit/auto_2dext_2eservice";

/// The service, with what drop-ins change of its unit.
pub(crate) async fn reader() -> Reader {
    let asked = timeout(ANSWER_WITHIN, ask()).await;
    asked.ok().flatten().unwrap_or_else(Reader::service)
}

async fn ask() -> Option<Reader> {
    let bus = Connection::system().await.ok()?;
    let unit = proxy(&bus, "org.freedesktop.systemd1.Unit").await?;
    if property::<String>(&unit, "LoadState").await? != "loaded" {
        return None;
    }
    let service = proxy(&bus, "org.freedesktop.systemd1.Service").await?;
    let mut reader = Reader::service();
    if let Some(capabilities) = property(&service, "CapabilityBoundingSet").await {
        reader = reader.with_capabilities(capabilities);
    }
    if let Some(homes) = property::<String>(&service, "ProtectHome").await {
        reader.homes_are_hidden = ["yes", "tmpfs"].contains(&&*homes);
    }
    if let Some(private) = property(&service, "PrivateTmp").await {
        reader.temporary_is_hidden = private;
    }
    if let Some(protected) = property::<String>(&service, "ProtectSystem").await
        && let Some(paths) = property::<Vec<String>>(&service, "ReadWritePaths").await
    {
        let paths = paths.iter().map(String::as_str);
        reader.writable = (protected == "strict").then(|| Reader::writable_with(paths));
    }
    Some(reader)
}

async fn proxy(bus: &Connection, interface: &'static str) -> Option<Proxy<'static>> {
    zbus::proxy::Builder::new(bus)
        .destination(SYSTEMD)
        .path(UNIT)
        .interface(interface)
        .cache_properties(CacheProperties::No)
        .build()
        .await
        .ok()
}

async fn property<T: DeserializeOwned + zbus::Type>(proxy: &Proxy<'_>, name: &str) -> Option<T> {
    proxy.get_property(name).await.ok()
}
