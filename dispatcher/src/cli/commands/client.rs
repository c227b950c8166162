//! The connection from a command to the daemon, by D-Bus. Its errors have the exit codes that scripts rely on.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use auto_ext_service::exit_code::{Code, WithCode};
use futures_util::stream::{Stream, StreamExt as _, select};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::time::timeout;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::{CacheProperties, MethodFlags};
use zbus::wire::{DynamicDeserialize, DynamicType};
use zbus::{Connection, OwnedVariant, Proxy, Variant};

use crate::api::dbus::{NAME, PATH};

/// How long the daemon may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a person may take to answer polkit.
const PERSON_WITHIN: Duration = Duration::from_secs(125);

/// All properties of the daemon by their names.
pub(crate) type Properties = HashMap<String, OwnedVariant>;

/// Whom polkit may ask for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The person at the terminal, if there is one.
    Person,
    /// Nobody.
    Nobody,
}

/// A connection to the daemon.
pub(crate) struct Client {
    daemon: Proxy<'static>,
    properties: PropertiesProxy<'static>,
}

impl Client {
    /// Connects to the system bus, which does not say yet whether the daemon runs.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let connected = async {
            let connection = Connection::system().await?;
            let properties = PropertiesProxy::builder(&connection)
                .destination(NAME)
                .path(PATH)
                .cache_properties(CacheProperties::No)
                .build()
                .await?;
            let daemon = Proxy::new(&connection, NAME, PATH, NAME).await?;
            Ok(Self { daemon, properties })
        };
        within(ANSWER_WITHIN, connected).await.map_err(|error| {
            let message = format!("the system bus cannot be reached: {error}");
            WithCode::error(Code::NoDaemon, message)
        })
    }

    /// All properties.
    pub(crate) async fn properties(&self) -> anyhow::Result<Properties> {
        let interface = InterfaceName::from_static_str_unchecked(NAME);
        let all = async { Ok(self.properties.get_all(interface).await?) };
        within(ANSWER_WITHIN, all)
            .await
            .map_err(|error| explained(&error))
    }

    /// An item whenever a property or the scheduler changed, or the daemon came or went.
    pub(crate) async fn changes(&self) -> anyhow::Result<impl Stream<Item = ()> + Unpin + use<>> {
        let listening = async {
            let changed = self.properties.receive_properties_changed().await?;
            let switched = self.daemon.receive_signal("SchedulerSwitched").await?;
            let owner = self.daemon.receive_owner_changed().await?;
            let signals = select(changed.map(drop), switched.map(drop));
            Ok(select(signals, owner.map(drop)))
        };
        within(ANSWER_WITHIN, listening)
            .await
            .map_err(|error| explained(&error))
    }

    /// An item whenever one of these properties changed, or the daemon came or went.
    pub(crate) async fn changes_of(
        &self,
        names: &'static [&'static str],
    ) -> anyhow::Result<impl Stream<Item = ()> + Unpin + use<>> {
        let listening = async {
            let changed = self.properties.receive_properties_changed().await?;
            let owner = self.daemon.receive_owner_changed().await?;
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
            .map_err(|error| explained(&error))
    }

    /// An item whenever the daemon came to the bus (true) or left it; ends when the bus is gone.
    pub(crate) async fn comings_and_goings(
        &self,
    ) -> anyhow::Result<impl Stream<Item = bool> + use<>> {
        let listening = async { self.daemon.receive_owner_changed().await };
        let owners = within(ANSWER_WITHIN, listening).await;
        let owners = owners.map_err(|error| explained(&error))?;
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
        let (flags, limit) = if ask == Ask::Person && io::stdin().is_terminal() {
            (MethodFlags::ALLOW_INTERACTIVE_AUTH, PERSON_WITHIN)
        } else {
            // A script must not wait for an answer that nobody gives.
            (MethodFlags::empty(), 2 * ANSWER_WITHIN)
        };
        let called = async {
            let answer = self.daemon.call_with_flags(method, flags, body).await?;
            // Only a call that asks for no answer has none.
            answer.ok_or_else(|| zbus::Error::Failure("no answer".to_owned()))
        };
        within(limit, called)
            .await
            .map_err(|error| explained(&error))
    }
}

async fn within<T>(
    limit: Duration,
    future: impl Future<Output = zbus::Result<T>>,
) -> zbus::Result<T> {
    timeout(limit, future).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(zbus::Error::Failure(format!("no answer within {limit}")))
    })
}

/// The error for people, with its exit code.
fn explained(error: &zbus::Error) -> anyhow::Error {
    use zbus::fdo::Error;
    let zbus::Error::FDO(answer) = error else {
        let message = format!("the daemon does not answer: {error}");
        return WithCode::error(Code::NoDaemon, message);
    };
    match &**answer {
        Error::AccessDenied(message) | Error::InteractiveAuthorizationRequired(message) => {
            WithCode::error(Code::NotPermitted, message)
        }
        Error::ServiceUnknown(message)
        | Error::NameHasNoOwner(message)
        | Error::NoReply(message)
        | Error::Disconnected(message) => {
            let message = format!("the daemon does not run (systemctl start auto-ext): {message}");
            WithCode::error(Code::NoDaemon, message)
        }
        Error::Failed(message) | Error::InvalidArgs(message) => {
            WithCode::error(Code::Failed, message)
        }
        Error::NotSupported(message) | Error::LimitsExceeded(message) => {
            WithCode::for_now(Code::Failed, message)
        }
        other => WithCode::error(Code::Failed, other.to_string()),
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
