//! What other services on the system bus report: the power profile, and that the machine is about to sleep or to shut
//! down, or woke up.
//!
//! None of them is started by asking: signals are listened for, and a property is read only of a
//! service that is on the bus already.
//!
//! Anybody can send us signals. The connection receives nothing more once one of its queues is full, so each is emptied
//! whatever else is waited for; else an answer would never come.

use std::num::NonZero;
use std::sync::Mutex;
use std::time::Duration;

use auto_ext_policy::Profile;
use auto_ext_service::lock::lock;
use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::names::{BusName, InterfaceName};
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, MessageStream, OwnedVariant, message};

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
/// How many signals may wait to be read.
const QUEUED: usize = 16;
/// How long a service may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The least time between two questions, however many signals come.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(100);

/// logind's name, path and interface.
pub(super) const LOGIND: (&str, &str, &str) = (
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
);
/// The properties of logind that are true while the machine is about to sleep or to shut down.
const PREPARING: [&str; 2] = ["PreparingForSleep", "PreparingForShutdown"];

/// Reports the power profile, at first and when it changes, until the receiver is gone.
///
/// # Errors
/// When the bus is gone or answers no more.
pub(super) async fn profiles(bus: Connection, report: mpsc::Sender<Change>) -> zbus::Result<()> {
    let names = DBusProxy::new(&bus).await?;
    let mut services = Vec::new();
    let mut changes = Vec::new();
    for (name, path) in PROFILES {
        let properties = properties(&bus, name, path).await?;
        services.push((name, properties));
        let changed = signals(
            &bus,
            name,
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
        );
        let owned = [(0, name)];
        let owner = names.receive_name_owner_changed_with_args(&owned);
        let (changed, owner) = (changed.await?.map(drop), owner.await?.map(drop));
        changes.push(futures_util::stream::select(changed, owner));
    }
    let [new, old] = &mut changes[..] else {
        return Ok(());
    };
    let mut changes = futures_util::stream::select(new, old);
    let changed = Notify::new();
    let receive = async {
        while changes.next().await.is_some() {
            changed.notify_one();
        }
    };
    let ask = async {
        loop {
            let mut profile = None;
            for (name, properties) in &services {
                if profile.is_none() {
                    profile = active(&names, name, properties).await;
                }
            }
            if report.send(Change::Profile(profile)).await.is_err() {
                return;
            }
            sleep(ASK_EVERY).await;
            changed.notified().await;
        }
    };
    tokio::select! {
        () = receive => Err(zbus::Error::Failure("the bus has gone".to_owned())),
        () = ask => Ok(()),
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
    let mut signals = futures_util::stream::select(
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
                else => return Err(zbus::Error::Failure("the bus has gone".to_owned())),
            }
        }
    };
    // What was reported before, at first and when logind was started anew.
    let ask = async {
        loop {
            let asked = names.get_name_owner(BusName::try_from(logind)?);
            if let Ok(Ok(name)) = timeout(ANSWER_WITHIN, asked).await {
                *owner() = Some(name.to_string());
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
                return Ok(());
            }
            sleep(ASK_EVERY).await;
            changed.notified().await;
        }
    };
    tokio::select! {
        ended = receive => ended,
        ended = ask => ended,
    }
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

/// The signals called `member` from the owner of the name `sender`, which need not be on the bus yet. Anybody else can send
/// such signals to us alone, and these are among them.
pub(super) async fn signals(
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
