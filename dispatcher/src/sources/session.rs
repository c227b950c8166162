//! What other services on the system bus report: the power profile, and that the machine is about to sleep or to shut
//! down, or woke up.

use std::sync::Mutex;

use auto_ext_policy::Profile;
use auto_ext_service::lock::lock;
use futures_util::StreamExt as _;
use futures_util::stream::select;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::names::{BusName, InterfaceName};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedVariant};

use super::bus_signals::{ANSWER_WITHIN, ASK_EVERY, Changed, LOGIND, changes, gone, signals};
use super::change::Change;

/// The names and paths of power-profiles-daemon and tuned-ppd: the current ones, and those before version 0.20.
const PROFILES: [(&str, &str); 2] = [
    (
        "org.freedesktop.UPower.PowerProfiles",
        "/org/freedesktop/UPower/PowerProfiles",
    ),
    ("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"),
];
const ACTIVE: &str = "ActiveProfile";
/// The properties of logind that are true while the machine is about to sleep or to shut down.
const PREPARING: [&str; 2] = ["PreparingForSleep", "PreparingForShutdown"];

/// Reports the power profile, at first and when it changes, until the receiver is gone.
///
/// # Errors
/// When the bus is gone or answers no more.
pub(super) async fn profiles(bus: Connection, report: mpsc::Sender<Change>) -> zbus::Result<()> {
    let names = DBusProxy::new(&bus).await?;
    let [new, old] = PROFILES;
    let services = [
        (new.0, properties(&bus, new.0, new.1).await?),
        (old.0, properties(&bus, old.0, old.1).await?),
    ];
    let mut changed = Changed::new(select(
        changes(&bus, &names, new.0).await?,
        changes(&bus, &names, old.0).await?,
    ));
    loop {
        let mut profile = None;
        for (name, properties) in &services {
            if profile.is_none() {
                profile = active(&names, name, properties).await;
            }
        }
        if report.send(Change::Profile(profile)).await.is_err() {
            return Ok(());
        }
        changed.wait().await?;
    }
}

/// The power profile now; `None`: no service says one.
pub(super) async fn profile(bus: &Connection) -> Option<Profile> {
    let names = DBusProxy::new(bus).await.ok()?;
    for (name, path) in PROFILES {
        let properties = properties(bus, name, path).await.ok()?;
        let profile = active(&names, name, &properties).await;
        if profile.is_some() {
            return profile;
        }
    }
    None
}

/// The active profile of the service called `name`, if it is on the bus and has one that is known.
async fn active(
    names: &DBusProxy<'_>,
    name: &'static str,
    properties: &PropertiesProxy<'_>,
) -> Option<Profile> {
    let value = property(names, name, name, properties, ACTIVE).await?;
    String::try_from(value).ok()?.parse().ok()
}

/// Reports when the machine is about to sleep or to shut down, and when it woke up or stays, until the receiver is gone.
///
/// # Errors
/// When the bus is gone or answers no more.
pub(super) async fn sleeps(bus: Connection, report: mpsc::Sender<Change>) -> zbus::Result<()> {
    let (logind, path, interface) = LOGIND;
    let names = DBusProxy::new(&bus).await?;
    let properties = properties(&bus, logind, path).await?;
    let mut signals = select(
        signals(&bus, logind, interface, "PrepareForSleep").await?,
        signals(&bus, logind, interface, "PrepareForShutdown").await?,
    );
    let mut owners = names
        .receive_name_owner_changed_with_args(&[(0, logind)])
        .await?;
    // Only who owns the name may report that.
    let owner: Mutex<Option<String>> = Mutex::default();
    let owner = || lock(&owner);
    let changed = Notify::new();
    let receive = async {
        loop {
            tokio::select! {
                Some(of) = owners.next() => {
                    if let Ok(of) = of.args() {
                        *owner() = of.new_owner().as_ref().map(ToString::to_string);
                        changed.notify_one();
                    }
                }
                Some(signal) = signals.next() => {
                    let Ok(signal) = signal else { continue };
                    let sender = signal.header().sender().map(ToString::to_string);
                    let Ok(begins) = signal.body().deserialize::<bool>() else { continue };
                    let known = sender.is_some() && *owner() == sender;
                    if known && report.send(Change::Sleep { begins }).await.is_err() {
                        return Ok(());
                    }
                }
                else => return Err(gone()),
            }
        }
    };
    // What was reported before, at first and when logind was started anew.
    let ask = async {
        loop {
            if let Some(name) = owner_of(&names, logind).await {
                *owner() = Some(name);
            }
            let mut begins = Some(false);
            for preparing in PREPARING {
                let value = property(&names, logind, interface, &properties, preparing).await;
                let value = value.and_then(|value| bool::try_from(value).ok());
                begins = begins.zip(value).map(|(one, other)| one || other);
            }
            if let Some(begins) = begins
                && report.send(Change::Sleep { begins }).await.is_err()
            {
                return;
            }
            sleep(ASK_EVERY).await;
            changed.notified().await;
        }
    };
    tokio::select! {
        ended = receive => ended,
        () = ask => Ok(()),
    }
}

/// Who has the name on the bus.
async fn owner_of(names: &DBusProxy<'_>, name: &'static str) -> Option<String> {
    let asked = names.get_name_owner(BusName::try_from(name).ok()?);
    let owner = timeout(ANSWER_WITHIN, asked).await.ok()?.ok()?;
    Some(owner.to_string())
}

/// The properties of what is at `path` of the service called `name`.
async fn properties<'a>(
    bus: &Connection,
    name: &'static str,
    path: &'static str,
) -> zbus::Result<PropertiesProxy<'a>> {
    PropertiesProxy::builder(bus)
        .destination(name)
        .path(path)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

/// A property of the service called `name`, if it is on the bus and answers in time.
async fn property(
    names: &DBusProxy<'_>,
    name: &'static str,
    interface: &'static str,
    properties: &PropertiesProxy<'_>,
    property: &str,
) -> Option<OwnedVariant> {
    let asked = async {
        let on_the_bus = names.name_has_owner(BusName::try_from(name).ok()?).await;
        if !on_the_bus.is_ok_and(|there| there) {
            return None;
        }
        let interface = InterfaceName::try_from(interface).ok()?;
        properties.get(interface, property).await.ok()
    };
    timeout(ANSWER_WITHIN, asked).await.ok().flatten()
}
