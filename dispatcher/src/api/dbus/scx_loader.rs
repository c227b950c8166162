//! org.scx.Loader: the object.
//!
//! What a request means is decided by the daemon (`scx_loader::clients`). What runs is the kernel's word, as everywhere.

use std::sync::Arc;

use auto_ext_bus::authorization::Authorization;
use auto_ext_bus::callers::program;
use zbus::message::Header;
use zbus::{Connection, fdo, interface};

use super::actions::Action;
use super::answers::{Answers, Properties as Facts};
use crate::api::request::{Request, Requests};
use crate::api::status::{Current, LoaderStatus};
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
        // As with scx_loader, a person may be asked whatever the caller says.
        let may = self
            .authorization
            .may_by_first(&action.of_scx_loader(), bus, header, true)
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

pub(super) fn current(current: &Current) -> String {
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
    async fn scheduler_modes(
        &self,
        scx_name: &str,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<u32>> {
        self.authorization.read(bus, &header).await?;
        let modes = offered(&self.facts(None))?
            .settings
            .modes(&scheduler(scx_name)?);
        Ok(modes.into_iter().map(Mode::number).collect())
    }

    /// The arguments of each mode of a scheduler.
    async fn scheduler_mode_args(
        &self,
        scx_name: &str,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<(u32, Vec<String>)>> {
        self.authorization.read(bus, &header).await?;
        let (name, settings) = (
            scheduler(scx_name)?,
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
