//! The connection from a command to the daemon, by D-Bus. Its errors have the exit codes that scripts rely on.

use std::collections::HashMap;

use auto_ext_bus::client;
pub(crate) use auto_ext_bus::client::Ask;
use auto_ext_bus::client::{ANSWER_WITHIN, Service, within};
use futures_util::stream::{Stream, StreamExt as _, select};
use serde::Serialize;
use serde_json::{Value as Json, json};
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::wire::{DynamicDeserialize, DynamicType};
use zbus::{OwnedVariant, Variant};

use crate::api::dbus::{NAME, PATH};

/// The daemon.
const DAEMON: Service = Service {
    name: NAME,
    path: PATH,
    unit: "auto-ext",
};

/// All properties of the daemon by their names.
pub(crate) type Properties = HashMap<String, OwnedVariant>;

/// A connection to the daemon.
pub(crate) struct Client {
    daemon: client::Client,
    properties: PropertiesProxy<'static>,
}

impl Client {
    /// Connects to the system bus, which does not say yet whether the daemon runs.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let daemon = client::Client::connect(DAEMON).await?;
        let connected = PropertiesProxy::builder(daemon.proxy.connection())
            .destination(NAME)
            .path(PATH)
            .cache_properties(CacheProperties::No)
            .build();
        let properties = within(ANSWER_WITHIN, connected).await;
        let properties = properties.map_err(|error| daemon.explained(&error))?;
        Ok(Self { daemon, properties })
    }

    /// All properties.
    pub(crate) async fn properties(&self) -> anyhow::Result<Properties> {
        let interface = InterfaceName::from_static_str_unchecked(NAME);
        let all = async { Ok(self.properties.get_all(interface).await?) };
        within(ANSWER_WITHIN, all)
            .await
            .map_err(|error| self.daemon.explained(&error))
    }

    /// An item whenever a property or the scheduler changed, or the daemon came or went.
    pub(crate) async fn changes(&self) -> anyhow::Result<impl Stream<Item = ()> + Unpin + use<>> {
        let listening = async {
            let changed = self.properties.receive_properties_changed().await?;
            let switched = self
                .daemon
                .proxy
                .receive_signal("SchedulerSwitched")
                .await?;
            let owner = self.daemon.proxy.receive_owner_changed().await?;
            let signals = select(changed.map(drop), switched.map(drop));
            Ok(select(signals, owner.map(drop)))
        };
        within(ANSWER_WITHIN, listening)
            .await
            .map_err(|error| self.daemon.explained(&error))
    }

    /// An item whenever one of these properties changed, or the daemon came or went.
    pub(crate) async fn changes_of(
        &self,
        names: &'static [&'static str],
    ) -> anyhow::Result<impl Stream<Item = ()> + Unpin + use<>> {
        let listening = async {
            let changed = self.properties.receive_properties_changed().await?;
            let owner = self.daemon.proxy.receive_owner_changed().await?;
            let changed = changed.filter_map(|signal| {
                let changed = signal.args().is_ok_and(|args| {
                    let of = args.changed_properties();
                    names.iter().any(|name| of.contains_key(name))
                });
                std::future::ready(changed.then_some(()))
            });
            Ok(select(changed, owner.map(drop)))
        };
        within(ANSWER_WITHIN, listening)
            .await
            .map_err(|error| self.daemon.explained(&error))
    }

    /// An item whenever the daemon came to the bus (true) or left it; ends when the bus is gone.
    pub(crate) async fn comings_and_goings(
        &self,
    ) -> anyhow::Result<impl Stream<Item = bool> + use<>> {
        let listening = async { self.daemon.proxy.receive_owner_changed().await };
        let owners = within(ANSWER_WITHIN, listening).await;
        let owners = owners.map_err(|error| self.daemon.explained(&error))?;
        Ok(owners.map(|owner| owner.is_some()))
    }

    /// Calls a method. On a terminal, polkit may ask for a password.
    pub(crate) async fn call<B, R>(&self, method: &str, body: &B) -> anyhow::Result<R>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        self.call_as(Ask::Person, method, body).await
    }

    /// Calls a method. Polkit may ask whom `ask` says.
    pub(crate) async fn call_as<B, R>(&self, ask: Ask, method: &str, body: &B) -> anyhow::Result<R>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        self.daemon.call_as(ask, method, body).await
    }
}

/// A property as JSON; null when the daemon does not have it.
pub(crate) fn property(properties: &Properties, name: &str) -> Json {
    properties
        .get(name)
        .map_or(Json::Null, |value| to_json(value))
}

/// The kinds of values that the daemon's properties have.
fn to_json(value: &Variant<'_>) -> Json {
    match value {
        Variant::Str(text) => json!(text.as_str()),
        Variant::U32(number) => json!(number),
        Variant::U64(number) => json!(number),
        Variant::F64(number) => json!(number),
        Variant::Variant(inner) => to_json(inner),
        Variant::Dict(entries) => Json::Object(
            entries
                .iter()
                .filter_map(|(key, value)| {
                    Some((to_json(key).as_str()?.to_owned(), to_json(value)))
                })
                .collect(),
        ),
        _ => Json::Null,
    }
}
