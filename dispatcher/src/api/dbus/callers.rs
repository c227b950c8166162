//! The callers on a bus: who calls, and when they leave.

use zbus::message::Header;
use zbus::names::BusName;
use zbus::{Connection, fdo};

/// A stream with an item when `name`, which is on the bus, leaves it.
///
/// # Errors
/// When it has left already, or the bus does not answer.
pub(super) async fn left(bus: &Connection, name: &str) -> fdo::Result<fdo::NameOwnerChangedStream> {
    let proxy = fdo::DBusProxy::new(bus).await?;
    let left = proxy
        .receive_name_owner_changed_with_args(&[(0, name), (2, "")])
        .await?;
    if proxy.name_has_owner(BusName::try_from(name)?).await? {
        Ok(left)
    } else {
        Err(fdo::Error::Failed("the caller has left".to_owned()))
    }
}

/// The caller's unique name on the bus.
pub(super) fn caller(header: &Header<'_>) -> fdo::Result<String> {
    header
        .sender()
        .map(ToString::to_string)
        .ok_or_else(|| fdo::Error::AccessDenied("who calls?".to_owned()))
}
