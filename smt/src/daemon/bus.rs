//! The service on D-Bus: org.autoext.Smt1. Reading is open to everybody; what changes something takes an authorization.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use auto_ext_bus::authorization::Authorization;
use auto_ext_bus::line::Offer;
use auto_ext_bus::properties::Properties;
use tokio::sync::watch;
use zbus::message::Header;
use zbus::names::InterfaceName;
use zbus::object_server::{InterfaceRef, SignalEmitter};
use zbus::{Connection, Variant, fdo, interface};

use super::request::{NoAnswer, Request, Requests};
use super::status::Status;

/// The name on the bus, which is also that of the interface.
pub const INTERFACE: &str = "org.autoext.Smt1";
/// The path of the object.
pub const PATH: &str = "/org/autoext/Smt1";
/// What takes an authorization: the action of systemd/org.autoext.Smt1.policy.
const MANAGE: &str = "org.autoext.Smt1.manage";

/// What is offered on the bus.
pub(super) struct OnBus {
    status: watch::Receiver<Status>,
    requests: Requests,
    /// What was announced last.
    shown: Option<Status>,
}

/// The object.
struct Smt {
    status: watch::Receiver<Status>,
    requests: Requests,
    authorization: Arc<Authorization>,
}

impl OnBus {
    pub(super) fn new(status: watch::Receiver<Status>, requests: Requests) -> Self {
        Self {
            status,
            requests,
            shown: None,
        }
    }
}

impl Offer for OnBus {
    const NAME: &'static str = INTERFACE;

    async fn install(
        &self,
        bus: &Connection,
        authorization: &Arc<Authorization>,
    ) -> zbus::Result<()> {
        let object = Smt {
            status: self.status.clone(),
            requests: self.requests.clone(),
            authorization: Arc::clone(authorization),
        };
        bus.object_server().at(PATH, object).await?;
        Properties::<Smt>::install(bus, PATH, Arc::clone(authorization)).await
    }

    async fn changed(&mut self) {
        if self.status.changed().await.is_err() {
            // The daemon ends.
            std::future::pending::<()>().await;
        }
    }

    async fn announce(&mut self, bus: &Connection) -> zbus::Result<()> {
        let status = self.status.borrow_and_update().clone();
        let before = self.shown.replace(status.clone());
        let object: InterfaceRef<Smt> = bus.object_server().interface(PATH).await?;
        let emitter = object.signal_emitter();
        let old = before.as_ref().map(values).unwrap_or_default();
        let new = values(&status).into_iter();
        let changed: HashMap<&str, Variant<'static>> = new
            .filter(|(name, value)| old.get(name) != Some(value))
            .collect();
        if !changed.is_empty() {
            let name = InterfaceName::from_static_str_unchecked(INTERFACE);
            let none = [].as_slice().into();
            fdo::Properties::properties_changed(emitter, name, changed, none).await?;
        }
        let placed = placement(&status);
        if before.as_ref().map(placement).unwrap_or_default() != placed {
            let placed = serde_json::to_string(&placed).unwrap_or_default();
            Smt::placement_changed(emitter, &placed, &status.reason).await?;
        }
        Ok(())
    }
}

/// The properties that are announced; the groups change all the time and are read when they are wanted.
fn values(status: &Status) -> BTreeMap<&'static str, Variant<'static>> {
    BTreeMap::from([
        ("Mode", status.mode_word().to_owned().into()),
        ("Reason", status.reason.clone().into()),
        ("Pmu", status.pmu.clone().into()),
        ("Gain", status.gain.unwrap_or_default().into()),
        ("Since", status.since_us.into()),
    ])
}

/// The CPUs of each group that was given some.
fn placement(status: &Status) -> BTreeMap<&str, &str> {
    let groups = status.groups.iter();
    let placed = groups.filter_map(|group| Some((&*group.group, group.cpus.as_deref()?)));
    placed.collect()
}

impl Smt {
    async fn change(
        &self,
        request: Request,
        bus: &Connection,
        header: &Header<'_>,
    ) -> fdo::Result<String> {
        self.authorization.may(MANAGE, bus, header).await?;
        self.requests.ask(request).await.map_err(refused)
    }

    async fn read(
        &self,
        request: Request,
        bus: &Connection,
        header: &Header<'_>,
    ) -> fdo::Result<String> {
        self.authorization.read(bus, header).await?;
        self.requests.ask(request).await.map_err(refused)
    }
}

fn refused(why: NoAnswer) -> fdo::Error {
    let message = why.to_string();
    match why {
        NoAnswer::TooMany => fdo::Error::LimitsExceeded(message),
        NoAnswer::Ends => fdo::Error::NoReply(message),
    }
}

#[interface(name = "org.autoext.Smt1")]
impl Smt {
    #[zbus(property)]
    fn mode(&self) -> String {
        self.status.borrow().mode_word().to_owned()
    }

    #[zbus(property)]
    fn reason(&self) -> String {
        self.status.borrow().reason.clone()
    }

    #[zbus(property)]
    fn pmu(&self) -> String {
        self.status.borrow().pmu.clone()
    }

    /// The groups, as a list in JSON.
    #[zbus(property(emits_changed_signal = "false"))]
    fn groups(&self) -> fdo::Result<String> {
        let groups = serde_json::to_string(&self.status.borrow().groups);
        groups.map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    /// In parts; 0 where nothing was adopted.
    #[zbus(property)]
    fn gain(&self) -> f64 {
        self.status.borrow().gain.unwrap_or_default()
    }

    /// CLOCK_REALTIME in microseconds.
    #[zbus(property)]
    fn since(&self) -> u64 {
        self.status.borrow().since_us
    }

    /// Places nothing for `seconds` (0: until `Resume`), and undoes what is placed. Returns what is so then.
    #[zbus(out_args("answer"))]
    async fn pause(
        &self,
        seconds: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        let lasts = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        self.change(Request::Pause(lasts), bus, &header).await
    }

    /// Ends a pause.
    #[zbus(out_args("answer"))]
    async fn resume(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.change(Request::Resume, bus, &header).await
    }

    /// Undoes what is placed; for an hour nothing is placed again.
    #[zbus(out_args("answer"))]
    async fn restore(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.change(Request::Restore, bus, &header).await
    }

    /// Tries what there is to try as soon as that may be, though these jobs were tried in vain.
    #[zbus(out_args("answer"))]
    async fn trial(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.change(Request::Trial, bus, &header).await
    }

    /// What would be tried, as an object in JSON.
    #[zbus(out_args("json"))]
    async fn plan(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.read(Request::Plan, bus, &header).await
    }

    /// The metrics, as OpenMetrics text.
    #[zbus(out_args("text"))]
    async fn metrics(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.read(Request::Metrics, bus, &header).await
    }

    /// Groups were given cores, or all of it was undone: the CPUs of each group, as an object in JSON.
    #[zbus(signal)]
    async fn placement_changed(
        emitter: &SignalEmitter<'_>,
        cpus: &str,
        reason: &str,
    ) -> zbus::Result<()>;
}
