//! Asks the service by D-Bus. Its errors have the exit codes that scripts rely on.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context as _, Result};
use auto_ext_service::exit_code::{Code, WithCode};
use serde::Serialize;
use tokio::time::timeout;
use zbus::proxy::MethodFlags;
use zbus::wire::DynamicType;
use zbus::{Connection, Proxy};

use crate::daemon::{GroupStatus, INTERFACE, PATH};

/// How long the service may take to answer, and a person to answer polkit.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PERSON_WITHIN: Duration = Duration::from_secs(125);

/// What the service shows of itself.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) mode: String,
    pub(super) reason: String,
    pub(super) pmu: String,
    pub(super) gain: f64,
    pub(super) since_us: u64,
    pub(super) groups: Vec<GroupStatus>,
}

/// Calls a method that answers with a text. On a terminal, polkit may ask for a password.
pub(super) fn call<B: Serialize + DynamicType>(method: &str, body: &B) -> Result<String> {
    block_on(async {
        let (flags, limit) = if io::stdin().is_terminal() {
            (MethodFlags::ALLOW_INTERACTIVE_AUTH, PERSON_WITHIN)
        } else {
            // A script must not wait for an answer that nobody gives.
            (MethodFlags::empty(), ANSWER_WITHIN)
        };
        let called = async {
            let answer = service()
                .await?
                .call_with_flags(method, flags, body)
                .await?;
            answer.ok_or_else(|| zbus::Error::Failure("no answer".to_owned()))
        };
        within(limit, called).await
    })
}

/// What the service shows.
pub(super) fn shown() -> Result<Shown> {
    let (shown, groups) = block_on(async {
        let read = async {
            let service = service().await?;
            let groups: String = service.get_property("Groups").await?;
            let shown = Shown {
                mode: service.get_property("Mode").await?,
                reason: service.get_property("Reason").await?,
                pmu: service.get_property("Pmu").await?,
                gain: service.get_property("Gain").await?,
                since_us: service.get_property("Since").await?,
                groups: Vec::new(),
            };
            Ok((shown, groups))
        };
        within(ANSWER_WITHIN, read).await
    })?;
    let groups = serde_json::from_str(&groups).context("the service says something else")?;
    Ok(Shown { groups, ..shown })
}

/// Whether the service does not run, by what an error says.
pub(super) fn is_absent(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<WithCode>();
    code.is_some_and(|error| error.code == Code::NoDaemon)
}

async fn service() -> zbus::Result<Proxy<'static>> {
    let bus = Connection::system().await?;
    Proxy::new(&bus, INTERFACE, PATH, INTERFACE).await
}

fn block_on<T>(asked: impl Future<Output = zbus::Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(asked).map_err(|error| explained(&error))
}

async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = zbus::Result<T>>,
) -> zbus::Result<T> {
    timeout(limit, asked).await.unwrap_or_else(|_| {
        let limit = limit.as_secs();
        Err(zbus::Error::Failure(format!("no answer within {limit} s")))
    })
}

/// The error for people, with its exit code.
fn explained(error: &zbus::Error) -> anyhow::Error {
    use zbus::fdo::Error;
    let absent = |why: &dyn std::fmt::Display| {
        let message = format!("the service does not run (systemctl start auto-ext-smt): {why}");
        WithCode::error(Code::NoDaemon, message)
    };
    let zbus::Error::FDO(answer) = error else {
        return absent(error);
    };
    match &**answer {
        Error::AccessDenied(message) | Error::InteractiveAuthorizationRequired(message) => {
            WithCode::error(Code::NotPermitted, message)
        }
        Error::LimitsExceeded(message) => WithCode::for_now(Code::Failed, message),
        Error::Failed(message) | Error::InvalidArgs(message) => {
            WithCode::error(Code::Failed, message)
        }
        other => absent(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_exit_code() {
        let code = |error: zbus::fdo::Error| {
            let error = explained(&zbus::Error::FDO(Box::new(error)));
            error.downcast_ref::<WithCode>().unwrap().code
        };
        let text = || "x".to_owned();
        assert_eq!(
            code(zbus::fdo::Error::AccessDenied(text())),
            Code::NotPermitted
        );
        assert_eq!(
            code(zbus::fdo::Error::ServiceUnknown(text())),
            Code::NoDaemon
        );
        assert_eq!(code(zbus::fdo::Error::LimitsExceeded(text())), Code::Failed);
        assert!(is_absent(&explained(&zbus::Error::InvalidReply)));
    }
}
