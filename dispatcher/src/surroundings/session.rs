//! What other services on the system bus say: the power profile, and that the machine goes to
//! sleep, wakes up or is shut down.
//!
//! None of them is started by asking: signals are listened for, and a property is read only of a
//! service that is on the bus already.

use std::num::NonZero;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::names::{BusName, InterfaceName};
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, Message, MessageStream, message};

use super::Change;
use crate::policy::Profile;

/// The names under which power-profiles-daemon and tuned-ppd are found: today's, and that of before
/// version 0.20.
const PROFILES: [(&str, &str); 2] = [
    (
        "org.freedesktop.UPower.PowerProfiles",
        "/org/freedesktop/UPower/PowerProfiles",
    ),
    ("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"),
];
const ACTIVE: &str = "ActiveProfile";
/// How many signals may wait to be read.
const QUEUED: usize = 16;

/// Tells of power profiles until the receiver is gone.
pub(super) async fn profiles(bus: Connection, tell: mpsc::Sender<Change>) -> zbus::Result<()> {
    let names = DBusProxy::new(&bus).await?;
    let mut watched = Vec::new();
    for (name, path) in PROFILES {
        let properties = PropertiesProxy::builder(&bus)
            .destination(name)
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let changed = signals(
            &bus,
            name,
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
        )
        .await?
        .map(drop);
        let owner = names
            .receive_name_owner_changed_with_args(&[(0, name)])
            .await?
            .map(drop);
        watched.push((
            name,
            properties,
            futures_util::stream::select(changed, owner),
        ));
    }
    let [(new, of_new, new_changed), (old, of_old, old_changed)] = &mut watched[..] else {
        return Ok(());
    };
    loop {
        let mut profile = active(&names, new, of_new).await;
        if profile.is_none() {
            profile = active(&names, old, of_old).await;
        }
        if tell.send(Change::Profile(profile)).await.is_err() {
            return Ok(());
        }
        let more = tokio::select! {
            more = new_changed.next() => more,
            more = old_changed.next() => more,
        };
        if more.is_none() {
            return Err(zbus::Error::Failure("the bus has gone".to_owned()));
        }
    }
}

/// The active profile of the service called `name`, if it is on the bus and says one that is known.
async fn active(
    names: &DBusProxy<'_>,
    name: &'static str,
    properties: &PropertiesProxy<'_>,
) -> Option<Profile> {
    let on_the_bus = names.name_has_owner(BusName::try_from(name).ok()?).await;
    if !on_the_bus.is_ok_and(|there| there) {
        return None;
    }
    let interface = InterfaceName::try_from(name).ok()?;
    let value = properties.get(interface, ACTIVE).await.ok()?;
    String::try_from(value).ok()?.parse().ok()
}

/// Tells when the machine is about to sleep or to shut down, and when it woke up or stays, until the
/// receiver is gone.
pub(super) async fn sleep(bus: Connection, tell: mpsc::Sender<Change>) -> zbus::Result<()> {
    let logind = "org.freedesktop.login1";
    let interface = "org.freedesktop.login1.Manager";
    let mut signals = futures_util::stream::select(
        signals(&bus, logind, interface, "PrepareForSleep").await?,
        signals(&bus, logind, interface, "PrepareForShutdown").await?,
    );
    let names = DBusProxy::new(&bus).await?;
    while let Some(signal) = signals.next().await {
        let Ok(signal) = signal else { continue };
        let Ok(begins) = signal.body().deserialize::<bool>() else {
            continue;
        };
        if !is_from(&names, logind, &signal).await {
            continue;
        }
        if tell.send(Change::Sleep { begins }).await.is_err() {
            return Ok(());
        }
    }
    Err(zbus::Error::Failure("the bus has gone".to_owned()))
}

/// The signals of that name from whoever owns the name `sender` on the bus, who need not be there
/// yet; see also [`is_from`].
async fn signals(
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

/// Whether `signal` comes from the owner of the name `sender`. The bus passes on to us whatever
/// anybody sends to us alone.
async fn is_from(names: &DBusProxy<'_>, sender: &'static str, signal: &Message) -> bool {
    let Ok(sender) = BusName::try_from(sender) else {
        return false;
    };
    let owner = names.get_name_owner(sender).await;
    owner.is_ok_and(|owner| signal.header().sender() == Some(&owner))
}
