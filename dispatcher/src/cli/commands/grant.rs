//! What the daemon grants for as long as we run, a hold or a lease: asked for, and asked for again when the daemon or the
//! bus was restarted.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use auto_ext_core::Explanation;
use auto_ext_policy::KERNEL;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;
use futures_util::{Stream, StreamExt as _};
use tokio::time::sleep;

use super::client::{Ask, Client};

/// How long to wait before a bus that cannot be reached is tried again, at first and at most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// What is asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// That what runs stays.
    Hold,
    /// That this scheduler runs.
    Scheduler(String),
    /// That what this class would use runs.
    Class(String),
}

impl Wanted {
    fn participle(&self) -> &'static str {
        match self {
            Self::Hold => "held",
            Self::Scheduler(_) | Self::Class(_) => "leased",
        }
    }
}

/// A hold or a lease, which ends with our connection to the bus, or with the daemon.
pub(super) struct Grant {
    wanted: Wanted,
    application: String,
    connection: Option<Connection>,
    state: State,
    /// Its end was reported, which is done once.
    end_is_reported: bool,
}

/// The bus, and when the daemon comes to it (true) and leaves it.
struct Connection {
    client: Client,
    daemon: Pin<Box<dyn Stream<Item = bool>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Taken,
    /// It can be taken when there is a daemon.
    Missing,
    /// The daemon refused it, and is not asked again until it was restarted.
    Refused,
}

/// A value that there is not.
pub(super) enum Never {}

impl Grant {
    /// What is wanted for `program`, which is not asked for yet.
    pub(super) fn new(wanted: Wanted, program: &OsString) -> Self {
        let name = Path::new(program).file_name().unwrap_or(program);
        let name = name.to_string_lossy();
        let printable = name.chars().filter(|char| !char.is_control());
        Self {
            wanted,
            application: printable.take(60).collect(),
            connection: None,
            state: State::Missing,
            end_is_reported: false,
        }
    }

    /// Asks the daemon for it.
    pub(super) async fn take(&mut self, ask: Ask) -> anyhow::Result<()> {
        self.state = State::Missing;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open().await?,
        };
        let connection = self.connection.insert(connection);
        let taken = connection
            .ask_for(&self.wanted, &self.application, ask)
            .await;
        self.state = match &taken {
            Ok(()) => State::Taken,
            Err(error) => match error.downcast_ref::<WithCode>().map(|error| error.code) {
                Some(Code::NoDaemon) => State::Missing,
                _ => State::Refused,
            },
        };
        taken
    }

    /// The daemon that granted it, if one did.
    pub(super) fn daemon(&self) -> Option<&Client> {
        let connection = self.connection.as_ref()?;
        (self.state == State::Taken).then_some(&connection.client)
    }

    /// Keeps it for as long as this is awaited, over restarts of the daemon and of the bus.
    pub(super) async fn keep(&mut self) -> Never {
        let mut retry = RETRY;
        loop {
            let Some(connection) = &mut self.connection else {
                sleep(retry).await;
                retry = (2 * retry).min(RETRY_AT_MOST);
                self.take_again().await;
                continue;
            };
            match connection.daemon.next().await {
                Some(true) => self.take_again().await,
                Some(false) => self.lost(),
                // The bus is gone, and with our connection what was granted.
                None => {
                    self.lost();
                    self.connection = None;
                }
            }
            if self.state == State::Taken {
                retry = RETRY;
            }
        }
    }

    /// Takes it anew, without asking a person while the command runs. That it is refused is reported; that there is
    /// no daemon is known already.
    async fn take_again(&mut self) {
        if let Err(error) = self.take(Ask::Nobody).await
            && self.state == State::Refused
        {
            self.report_end(&format!("{error:#}"));
        }
    }

    fn lost(&mut self) {
        if self.state == State::Taken {
            let word = self.wanted.participle();
            self.report_end(&format!(
                "the daemon or the bus is gone; it is {word} again when both are back"
            ));
        }
        self.state = State::Missing;
    }

    fn report_end(&mut self, why: &str) {
        if !std::mem::replace(&mut self.end_is_reported, true) {
            let word = self.wanted.participle();
            warn(&format!("the scheduler is not {word} any more: {why}"));
        }
    }
}

impl Connection {
    async fn open() -> anyhow::Result<Self> {
        let client = Client::connect().await?;
        // Before anything is granted, so that its end cannot be missed.
        let daemon = Box::pin(client.comings_and_goings().await?);
        Ok(Self { client, daemon })
    }

    async fn ask_for(&self, wanted: &Wanted, application: &str, ask: Ask) -> anyhow::Result<()> {
        match wanted {
            Wanted::Hold => {
                let body = (application, "auto-ext hold");
                let _cookie: u32 = self.client.call_as(ask, "Hold", &body).await?;
                Ok(())
            }
            Wanted::Scheduler(name) => self.lease(name, application, "auto-ext run", ask).await,
            Wanted::Class(class) => {
                let reason = format!("auto-ext run --class {class}");
                let mut last = Ok(());
                for name in self.candidates(class).await? {
                    last = self.lease(&name, application, &reason, ask).await;
                    match &last {
                        Err(error) if may_be_another(error) => {}
                        _ => break,
                    }
                }
                last
            }
        }
    }

    async fn lease(
        &self,
        name: &str,
        application: &str,
        reason: &str,
        ask: Ask,
    ) -> anyhow::Result<()> {
        let no_arguments: &[&str] = &[];
        let body = (name, no_arguments, application, reason);
        let _cookie: u32 = self.client.call_as(ask, "Lease", &body).await?;
        Ok(())
    }

    /// What the rule of `class` asks to run, best first, and the kernel's own scheduler.
    async fn candidates(&self, class: &str) -> anyhow::Result<Vec<String>> {
        let explanation: String = self.client.call("Why", &()).await?;
        let explanation: Explanation = serde_json::from_str(&explanation)?;
        let classes: Vec<&str> = explanation.rules.iter().map(|rule| &*rule.class).collect();
        let rule = explanation.rules.iter().find(|rule| rule.class == class);
        let rule = rule.with_context(|| {
            format!(
                "the policy has no class `{class}`; it has {}",
                classes.join(", ")
            )
        })?;
        let kernel = KERNEL.to_owned();
        Ok(rule.candidates.iter().cloned().chain([kernel]).collect())
    }
}

/// Whether what could not be leased leaves room for the next candidate: it is not installed, or cannot run now.
fn may_be_another(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<WithCode>().map(|error| error.code);
    code == Some(Code::Failed)
}

/// Tells the person that something is not as wanted, while the command runs on.
pub(super) fn warn(what: &str) {
    // Without standard error there is nowhere to write it, and the command runs on.
    let _ = writeln!(io::stderr(), "auto-ext: warning: {}", sanitize(what));
}
