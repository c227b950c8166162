//! The service on D-Bus: org.autoext.Vm1.

use std::sync::Arc;
use std::time::Duration;

use auto_ext_bus::authorization::Authorization;
use auto_ext_bus::line::Offer;
use auto_ext_bus::properties::Properties;
use tokio::sync::watch;
use zbus::message::Header;
use zbus::object_server::InterfaceRef;
use zbus::{Connection, fdo, interface};

use super::request::{Refusal, Request, Requests};

/// The name on the bus, which is also that of the interface.
pub const NAME: &str = "org.autoext.Vm1";
/// The path of the object.
pub const PATH: &str = "/org/autoext/Vm1";
/// What it takes to change something: the action of systemd/org.autoext.Vm1.policy.
const MANAGE: &str = "org.autoext.Vm1.manage";

/// What the properties say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) mode: &'static str,
    pub(super) reason: String,
    pub(super) guests: u32,
}

/// What is offered on a bus.
#[derive(Clone)]
pub(super) struct Offered {
    requests: Requests,
    shown: watch::Receiver<Shown>,
}

/// The object.
struct Vm {
    authorization: Arc<Authorization>,
    requests: Requests,
    shown: watch::Receiver<Shown>,
}

impl Offered {
    pub(super) fn new(requests: Requests, shown: watch::Receiver<Shown>) -> Self {
        Self { requests, shown }
    }
}

impl Offer for Offered {
    const NAME: &'static str = NAME;

    async fn install(
        &self,
        bus: &Connection,
        authorization: &Arc<Authorization>,
    ) -> zbus::Result<()> {
        let object = Vm {
            authorization: Arc::clone(authorization),
            requests: self.requests.clone(),
            shown: self.shown.clone(),
        };
        bus.object_server().at(PATH, object).await?;
        Properties::<Vm>::install(bus, PATH, Arc::clone(authorization)).await
    }

    async fn changed(&mut self) {
        if self.shown.changed().await.is_err() {
            // The service ends.
            std::future::pending::<()>().await;
        }
    }

    async fn announce(&mut self, bus: &Connection) -> zbus::Result<()> {
        self.shown.mark_unchanged();
        let object: InterfaceRef<Vm> = bus.object_server().interface(PATH).await?;
        let emitter = object.signal_emitter();
        let object = object.get().await;
        object.mode_changed(emitter).await?;
        object.reason_changed(emitter).await?;
        object.guests_changed(emitter).await
    }
}

impl Vm {
    async fn read(
        &self,
        request: Request,
        bus: &Connection,
        header: &Header<'_>,
    ) -> fdo::Result<String> {
        self.authorization.read(bus, header).await?;
        Ok(self.requests.ask(request).await?)
    }

    async fn change(
        &self,
        request: Request,
        bus: &Connection,
        header: &Header<'_>,
    ) -> fdo::Result<()> {
        request.check()?;
        self.authorization.may(MANAGE, bus, header).await?;
        self.requests.ask(request).await?;
        Ok(())
    }
}

impl From<Refusal> for fdo::Error {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Invalid(_) => Self::InvalidArgs(message),
            Refusal::Unavailable(_) => Self::NotSupported(message),
            Refusal::TooMuch => Self::LimitsExceeded(message),
        }
    }
}

#[interface(name = "org.autoext.Vm1")]
impl Vm {
    #[zbus(property)]
    fn mode(&self) -> String {
        self.shown.borrow().mode.to_owned()
    }

    #[zbus(property)]
    fn reason(&self) -> String {
        self.shown.borrow().reason.clone()
    }

    #[zbus(property)]
    fn guests(&self) -> u32 {
        self.shown.borrow().guests
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    async fn status(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.read(Request::Status, bus, &header).await
    }

    async fn why(
        &self,
        guest: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.read(Request::Why(guest), bus, &header).await
    }

    async fn history(
        &self,
        count: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        let count = count as usize;
        self.read(Request::History(count), bus, &header).await
    }

    async fn metrics(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.read(Request::Metrics, bus, &header).await
    }

    /// 0: until it is ended.
    async fn pause(
        &self,
        seconds: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let lasts = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
        self.change(Request::Pause(lasts), bus, &header).await
    }

    async fn resume(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.change(Request::Resume, bus, &header).await
    }

    async fn exclude(
        &self,
        guest: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.change(Request::Exclude(guest), bus, &header).await
    }

    async fn include(
        &self,
        guest: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.change(Request::Include(guest), bus, &header).await
    }

    /// Empty: all guests.
    async fn release(
        &self,
        guest: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let guest = (!guest.is_empty()).then_some(guest);
        self.change(Request::Release(guest), bus, &header).await
    }
}
