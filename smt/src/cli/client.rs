//! Asks the service by D-Bus.

use anyhow::{Context as _, Result};
use auto_ext_bus::client::{ANSWER_WITHIN, Ask, Client, Service, within};
use auto_ext_service::exit_code::{Code, WithCode};
use serde::Serialize;
use zbus::wire::DynamicType;

use crate::daemon::{GroupStatus, INTERFACE, PATH};

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
    block_on(async { connect().await?.call_as(Ask::Person, method, body).await })
}

/// What the service shows.
pub(super) fn shown() -> Result<Shown> {
    let (shown, groups) = block_on(async {
        let client = connect().await?;
        let service = &client.proxy;
        let read = async {
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
        let read = within(ANSWER_WITHIN, read).await;
        read.map_err(|error| client.explained(&error))
    })?;
    let groups = serde_json::from_str(&groups).context("the service says something else")?;
    Ok(Shown { groups, ..shown })
}

/// Whether the service does not run, by what an error says.
pub(super) fn is_absent(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<WithCode>();
    code.is_some_and(|error| error.code == Code::NoDaemon)
}

async fn connect() -> Result<Client> {
    Client::connect(Service {
        name: INTERFACE,
        path: PATH,
        unit: "auto-ext-smt",
    })
    .await
}

fn block_on<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(asked)
}
