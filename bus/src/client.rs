//! The connection from a command to a service. Its errors have the exit codes that scripts rely on.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use auto_ext_service::exit_code::{Code, WithCode};
use serde::Serialize;
use tokio::time::timeout;
use zbus::proxy::MethodFlags;
use zbus::wire::{DynamicDeserialize, DynamicType};
use zbus::{Connection, Proxy};

/// How long a service may take to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a person may take to answer polkit.
const PERSON_WITHIN: Duration = Duration::from_secs(125);

/// Whom polkit may ask for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The person at the terminal, if there is one.
    Person,
    /// Nobody.
    Nobody,
}

/// A service on the system bus.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its name, which is also that of its interface.
    pub name: &'static str,
    /// The path of its object.
    pub path: &'static str,
    /// The unit that is to be started when it does not run.
    pub unit: &'static str,
}

/// A connection to a service.
pub struct Client {
    /// The service.
    pub proxy: Proxy<'static>,
    service: Service,
}

impl Client {
    /// Connects to the system bus, which does not say yet whether the service runs.
    ///
    /// # Errors
    /// When there is no bus.
    pub async fn connect(service: Service) -> anyhow::Result<Self> {
        let connected = async {
            let connection = Connection::system().await?;
            Proxy::new(&connection, service.name, service.path, service.name).await
        };
        let proxy = within(ANSWER_WITHIN, connected).await.map_err(|error| {
            let message = format!("the system bus cannot be reached: {error}");
            WithCode::error(Code::NoDaemon, message)
        })?;
        Ok(Self { proxy, service })
    }

    /// Calls a method. Polkit may ask whom `ask` says.
    ///
    /// # Errors
    /// When the service does not run, does not permit it or cannot do it.
    pub async fn call_as<B, R>(&self, ask: Ask, method: &str, body: &B) -> anyhow::Result<R>
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
            let answer = self.proxy.call_with_flags(method, flags, body).await?;
            // Only a call that asks for no answer has none.
            answer.ok_or_else(|| zbus::Error::Failure("no answer".to_owned()))
        };
        within(limit, called)
            .await
            .map_err(|error| self.explained(&error))
    }

    /// The error for people, with its exit code.
    #[must_use]
    pub fn explained(&self, error: &zbus::Error) -> anyhow::Error {
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
                let start = format!("systemctl start {}", self.service.unit);
                let message = format!("the daemon does not run ({start}): {message}");
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
}

/// Waits for an answer for so long.
///
/// # Errors
/// When there is none, or it is an error.
pub async fn within<T>(
    limit: Duration,
    future: impl Future<Output = zbus::Result<T>>,
) -> zbus::Result<T> {
    timeout(limit, future).await.unwrap_or_else(|_| {
        let limit = limit.as_secs();
        Err(zbus::Error::Failure(format!("no answer within {limit}s")))
    })
}
