//! org.scx.Loader: the object, and the name, which is taken while the policy has it offered.
//!
//! What a request means is decided by the daemon (`scx_loader::clients`). What runs is the kernel's word, as everywhere.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use zbus::message::Header;
use zbus::names::InterfaceName;
use zbus::object_server::InterfaceRef;
use zbus::{Connection, Variant, fdo, interface};

use super::answers::{Answers, Properties as Facts};
use super::authorization::{Action, Authorization};
use super::callers::program;
use super::properties::{Object, Properties};
use crate::api::request::{Request, Requests};
use crate::api::status::{Current, DaemonStatus, LoaderStatus};
use crate::scx_loader::clients::{Ask, How};
use crate::scx_loader::{Mode, UNKNOWN, supported};

/// The name on the bus, which is also that of the interface.
pub(super) const NAME: &str = "org.scx.Loader";
/// The path of the object.
pub(super) const PATH: &str = "/org/scx/Loader";

/// The object.
pub(super) struct ScxLoader {
    answers: Answers,
    authorization: Arc<Authorization>,
    requests: Requests,
}

impl ScxLoader {
    pub(super) fn new(
        answers: Answers,
        authorization: Arc<Authorization>,
        requests: Requests,
    ) -> Self {
        Self {
            answers,
            authorization,
            requests,
        }
    }

    fn facts(&self, call: Option<Header<'_>>) -> Arc<Facts> {
        self.answers.to(call)
    }

    /// Has the daemon do it, if the caller may. Errors are of the kind that scx_loader has.
    async fn ask(&self, ask: Ask, bus: &Connection, header: &Header<'_>) -> fdo::Result<()> {
        let action = match &ask {
            Ask::Run {
                how: How::Arguments(_),
                ..
            } => Action::Arguments,
            _ => Action::Manage,
        };
        let failed = |why: String| fdo::Error::Failed(why);
        let request = |client| Request::ScxLoader {
            ask: ask.clone(),
            client,
        };
        // Before a person is asked, which may take minutes.
        let checked = request(String::new()).check();
        checked.map_err(|refusal| failed(refusal.to_string()))?;
        let may = self
            .authorization
            .may_by_scx_loader(action, bus, header)
            .await;
        may.map_err(|error| match error {
            fdo::Error::AccessDenied(why) => failed(why),
            other => other,
        })?;
        let client = program(bus, header).await;
        let done = self.requests.ask(request(client)).await;
        done.map(drop)
            .map_err(|refusal| failed(refusal.to_string()))
    }
}

fn offered(facts: &Facts) -> fdo::Result<&LoaderStatus> {
    let status = facts.status.scx_loader.as_ref();
    status.ok_or_else(|| fdo::Error::Failed("auto-ext does not offer it any more".to_owned()))
}

fn scheduler(name: &str) -> fdo::Result<String> {
    let known = supported(name).map(str::to_owned);
    known.ok_or_else(|| fdo::Error::Failed(format!("`{name}` is not supported")))
}

fn mode(number: u32) -> fdo::Result<Mode> {
    Mode::of_number(number).ok_or_else(|| fdo::Error::Failed(format!("there is no mode {number}")))
}

fn current(current: &Current) -> String {
    supported(&current.current_scheduler)
        .unwrap_or(UNKNOWN)
        .to_owned()
}

#[interface(name = "org.scx.Loader")]
impl ScxLoader {
    /// What the kernel runs, if it is one of the schedulers that scx_loader knows, else `unknown`.
    #[zbus(property)]
    fn current_scheduler(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        current(&self.facts(header).current)
    }

    /// The mode in which it was asked for, 0 when it was chosen by itself.
    #[zbus(property)]
    fn scheduler_mode(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u32> {
        let facts = self.facts(header);
        Ok(offered(&facts)?.mode(&facts.current).number())
    }

    /// The arguments with which it was asked for, if not those of a mode.
    #[zbus(property)]
    fn current_scheduler_args(
        &self,
        #[zbus(header)] header: Option<Header<'_>>,
    ) -> fdo::Result<Vec<String>> {
        let facts = self.facts(header);
        Ok(offered(&facts)?.arguments(&facts.current).to_vec())
    }

    /// The schedulers that scx_loader knows and that are installed.
    #[zbus(property(emits_changed_signal = "false"))]
    fn supported_schedulers(
        &self,
        #[zbus(header)] header: Option<Header<'_>>,
    ) -> fdo::Result<Vec<String>> {
        let supported = offered(&self.facts(header))?.supported.clone();
        Ok(supported.into_iter().map(str::to_owned).collect())
    }

    /// The scheduler that its configuration names, else `unknown`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn default_scheduler(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<String> {
        let default = offered(&self.facts(header))?.settings.default.clone();
        Ok(default.unwrap_or_else(|| UNKNOWN.to_owned()))
    }

    /// The mode that its configuration names.
    #[zbus(property(emits_changed_signal = "false"))]
    fn default_mode(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u32> {
        Ok(offered(&self.facts(header))?.settings.default_mode.number())
    }

    /// The modes that have arguments for a scheduler, and 0.
    fn scheduler_modes(&self, scx_name: String) -> fdo::Result<Vec<u32>> {
        let modes = offered(&self.facts(None))?
            .settings
            .modes(&scheduler(&scx_name)?);
        Ok(modes.into_iter().map(Mode::number).collect())
    }

    /// The arguments of each mode of a scheduler.
    fn scheduler_mode_args(&self, scx_name: String) -> fdo::Result<Vec<(u32, Vec<String>)>> {
        let (name, settings) = (
            scheduler(&scx_name)?,
            Arc::clone(&offered(&self.facts(None))?.settings),
        );
        let arguments = |mode: Mode| (mode.number(), settings.arguments(&name, mode));
        Ok(Mode::ALL.map(arguments).into())
    }

    async fn start_scheduler(
        &self,
        scx_name: String,
        sched_mode: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.switch_scheduler(scx_name, sched_mode, bus, header)
            .await
    }

    async fn start_scheduler_with_args(
        &self,
        scx_name: String,
        scx_args: Vec<String>,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.switch_scheduler_with_args(scx_name, scx_args, bus, header)
            .await
    }

    /// Runs a scheduler in a mode.
    async fn switch_scheduler(
        &self,
        scx_name: String,
        sched_mode: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let (command, how) = (scheduler(&scx_name)?, How::Mode(mode(sched_mode)?));
        self.ask(Ask::Run { command, how }, bus, &header).await
    }

    /// Runs a scheduler with these arguments.
    async fn switch_scheduler_with_args(
        &self,
        scx_name: String,
        scx_args: Vec<String>,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let (command, how) = (scheduler(&scx_name)?, How::Arguments(scx_args));
        self.ask(Ask::Run { command, how }, bus, &header).await
    }

    /// Runs the kernel's own scheduler, or what the policy wants if that ran before.
    async fn stop_scheduler(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.ask(Ask::Stop, bus, &header).await
    }

    /// Loads what runs anew.
    async fn restart_scheduler(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.ask(Ask::Restart, bus, &header).await
    }

    /// Runs what the configuration names, else what the policy wants.
    async fn restore_default(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.ask(Ask::RestoreDefault, bus, &header).await
    }
}

/// The interface on a connection, offered or not.
pub(super) struct Offer {
    connection: Connection,
    object: InterfaceRef<ScxLoader>,
    /// Comes when nobody has the name any more.
    free: fdo::NameOwnerChangedStream,
    /// The properties as they were announced last; `None` while it is not offered.
    announced: Option<Announced>,
    /// Somebody else's service has the name and does not give it away.
    taken: bool,
}

/// The properties that change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Announced {
    scheduler: String,
    mode: u32,
    arguments: Vec<String>,
}

impl Announced {
    fn of(now: &Current, status: &LoaderStatus) -> Self {
        Self {
            scheduler: current(now),
            mode: status.mode(now).number(),
            arguments: status.arguments(now).to_vec(),
        }
    }

    /// What differs from `before`.
    fn changes(&self, before: Option<&Self>) -> HashMap<&'static str, Variant<'static>> {
        let mut changed = HashMap::new();
        if before.is_none_or(|before| before.scheduler != self.scheduler) {
            changed.insert("CurrentScheduler", self.scheduler.clone().into());
        }
        if before.is_none_or(|before| before.mode != self.mode) {
            changed.insert("SchedulerMode", self.mode.into());
        }
        if before.is_none_or(|before| before.arguments != self.arguments) {
            changed.insert("CurrentSchedulerArgs", self.arguments.clone().into());
        }
        changed
    }
}

impl Offer {
    /// Prepares the object; nobody finds it before it is offered.
    pub(super) async fn prepare(
        connection: &Connection,
        object: ScxLoader,
        authorization: Arc<Authorization>,
    ) -> zbus::Result<Self> {
        connection.object_server().at(PATH, object).await?;
        Properties::install(connection, Object::ScxLoader, authorization).await?;
        let free = fdo::DBusProxy::new(connection).await?;
        let free = free
            .receive_name_owner_changed_with_args(&[(0, NAME), (2, "")])
            .await?;
        Ok(Self {
            connection: connection.clone(),
            object: connection.object_server().interface(PATH).await?,
            free,
            announced: None,
            taken: false,
        })
    }

    /// Offers the interface or not, as `status` says, and announces what changed.
    pub(super) async fn show(&mut self, now: &Current, status: &DaemonStatus) -> zbus::Result<()> {
        let Some(status) = &status.scx_loader else {
            if self.announced.take().is_some() {
                self.connection.release_name(NAME).await?;
            }
            return Ok(());
        };
        if self.announced.is_none() {
            self.take_name().await?;
        }
        let announced = Announced::of(now, status);
        let changed = announced.changes(self.announced.as_ref());
        if !changed.is_empty() {
            let name = InterfaceName::from_static_str_unchecked(NAME);
            let emitter = self.object.signal_emitter();
            fdo::Properties::properties_changed(emitter, name, changed, [].as_slice().into())
                .await?;
        }
        self.announced = Some(announced);
        Ok(())
    }

    /// Waits until the name is free that somebody else had. Can be dropped and called again.
    pub(super) async fn name_is_free(&mut self) {
        loop {
            match self.free.next().await {
                Some(_) if self.taken => return,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Takes the name, also from a service that lets others have it, as scx_loader does.
    pub(super) async fn take_name(&mut self) -> zbus::Result<()> {
        let flags = fdo::RequestNameFlags::REPLACE_EXISTING | fdo::RequestNameFlags::DO_NOT_QUEUE;
        self.taken = match self.connection.request_name_with_flags(NAME, flags).await {
            Ok(_) => false,
            Err(zbus::Error::NameTaken) => {
                tracing::warn!(
                    "{NAME} belongs to another service; it is offered when that has ended"
                );
                true
            }
            Err(error @ (zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => {
                tracing::warn!(
                    "{NAME} cannot be had: {error} (is the D-Bus policy file installed?)"
                );
                true
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }
}
