//! The connection to a bus: joining it, and announcing what changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auto_ext_bus::authorization::Authorization;
use auto_ext_bus::join::{BusError, BusKind, connect, take_name};
use auto_ext_bus::properties::Properties;
use auto_ext_scx::process::registry::ProcessRegistry;
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_service::lock::lock;
use zbus::object_server::InterfaceRef;
use zbus::{Connection, Variant, fdo};

use super::address::{NAME, PATH};
use super::answers::Answers;
use super::interface::AutoExt;
use super::scx_loader::ScxLoader;
use super::scx_loader_name::Offer;
use super::values::{Values, trial_values};
use crate::api::request::Requests;
use crate::api::status::{Current, DaemonStatus};

/// Changes of the signals are announced at most this often; all else at once.
const SIGNALS_EVERY: Duration = Duration::from_secs(1);
/// A signal that differs by less from what was announced last is not announced: it is never quite constant.
const NOTICEABLE: f64 = 0.02;

/// What the service needs to be on a bus.
#[derive(Clone)]
pub(crate) struct BusConfig {
    pub(crate) kind: BusKind,
    pub(crate) sched_ext: SchedExt,
    pub(crate) registry: ProcessRegistry,
    /// What the daemon published last.
    pub(crate) status: Arc<Mutex<DaemonStatus>>,
    pub(crate) requests: Requests,
}

/// The service on the bus.
pub(crate) struct Bus {
    connection: Connection,
    interface: InterfaceRef<AutoExt>,
    scx_loader: Offer,
    shown: Shown,
    signals_announced: Instant,
}

/// What was announced last.
struct Shown {
    current: Current,
    status: DaemonStatus,
}

impl BusConfig {
    /// Connects, shows the object and takes the name; none where there is to be none.
    pub(crate) async fn join(&self) -> Result<Option<Bus>, BusError> {
        let Some(connection) = connect(self.kind).await? else {
            return Ok(None);
        };
        let authorization = Arc::new(Authorization::new());
        let object = AutoExt::new(
            &self.sched_ext,
            &self.registry,
            Arc::clone(&self.status),
            Arc::clone(&authorization),
            self.requests.clone(),
        );
        let current = object.current();
        let status = lock(&self.status).clone();
        connection.object_server().at(PATH, object).await?;
        let interface: InterfaceRef<AutoExt> = connection.object_server().interface(PATH).await?;
        let own = Arc::clone(&authorization);
        Properties::<AutoExt>::install(&connection, PATH, own).await?;
        let answers = Answers::new(&self.sched_ext, &self.registry, Arc::clone(&self.status));
        let loader = ScxLoader::new(answers, Arc::clone(&authorization), self.requests.clone());
        let scx_loader = Offer::prepare(&connection, loader, authorization).await?;
        take_name(&connection, NAME).await?;
        Ok(Some(Bus {
            connection,
            interface,
            scx_loader,
            shown: Shown { current, status },
            signals_announced: Instant::now(),
        }))
    }
}

impl Bus {
    /// The connection, for what else is on the bus.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Waits until the bus has gone.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + use<> {
        let connection = self.connection.clone();
        async move { connection.closed().await }
    }

    /// Waits until scx_loader does not have the name of its interface any more, while it is to be offered here. Can be dropped
    /// and called again.
    pub(crate) async fn scx_loader_left(&mut self) {
        self.scx_loader.name_is_free().await;
    }

    /// Offers its interface in its place.
    pub(crate) async fn follow_scx_loader(&mut self) -> zbus::Result<()> {
        self.scx_loader.take_name().await
    }

    /// Closes the connection to a bus that does not answer.
    pub(crate) fn hang_up(self) {
        // Dropping it is not enough, as others hold it too. Closing it may have to wait for what is half sent.
        tokio::spawn(self.connection.close());
    }

    /// Announces what changed.
    pub(crate) async fn show(
        &mut self,
        current: Current,
        status: DaemonStatus,
    ) -> Result<(), zbus::Error> {
        self.scx_loader.show(&current, &status).await?;
        let mut changed = changes(&self.shown.current.values(), &current.values());
        changed.extend(changes(&self.shown.status.values(), &status.values()));
        let moved = noticeable(&self.shown.status.signals, &status.signals)
            && self.signals_announced.elapsed() >= SIGNALS_EVERY;
        if changed.contains_key("Signals") && (changed.len() > 1 || moved) {
            self.signals_announced = Instant::now();
        } else {
            changed.remove("Signals");
        }
        if changed.is_empty() {
            return Ok(());
        }
        let announced = changed.contains_key("Signals");
        let emitter = self.interface.signal_emitter();
        let name = zbus::names::InterfaceName::from_static_str_unchecked(NAME);
        fdo::Properties::properties_changed(emitter, name, changed, [].as_slice().into()).await?;
        let signals = std::mem::take(&mut self.shown.status.signals);
        self.shown = Shown { current, status };
        if !announced {
            self.shown.status.signals = signals;
        }
        Ok(())
    }

    /// Announces that the scheduler changed.
    pub(crate) async fn switched(
        &self,
        from: &str,
        to: &str,
        reason: &str,
        gap_us: u64,
    ) -> Result<(), zbus::Error> {
        AutoExt::scheduler_switched(self.interface.signal_emitter(), from, to, reason, gap_us).await
    }

    /// Announces that a trial has ended.
    pub(crate) async fn trial_ended(
        &self,
        class: &str,
        candidate: &str,
        outcome: &str,
    ) -> Result<(), zbus::Error> {
        AutoExt::trial_ended(self.interface.signal_emitter(), class, candidate, outcome).await
    }

    /// Gives the name back.
    pub(crate) async fn leave(self) {
        // The connection's end does the same.
        let _ = self.connection.release_name(NAME).await;
    }
}

/// Whether one of the signals differs by as much as is announced, or is known now or not any more.
fn noticeable(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> bool {
    before.len() != after.len()
        || after.iter().any(|(signal, after)| {
            let before = before.get(signal);
            before.is_none_or(|before| (before - after).abs() >= NOTICEABLE)
        })
}

/// The properties whose value is not what it was.
fn changes(before: &Values, after: &Values) -> HashMap<&'static str, Variant<'static>> {
    after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .filter_map(|(name, value)| Some((*name, value.try_clone().ok()?)))
        .collect()
}

impl Current {
    fn values(&self) -> Values {
        Values::from([
            ("CurrentScheduler", self.current_scheduler.clone().into()),
            ("CurrentOwner", self.current_owner.clone().into()),
            ("SchedulerPid", self.scheduler_pid.into()),
        ])
    }
}

impl DaemonStatus {
    fn values(&self) -> Values {
        Values::from([
            ("DesiredScheduler", self.desired_scheduler.clone().into()),
            ("Mode", self.mode.clone().into()),
            ("Class", self.class.clone().into()),
            ("Levels", self.levels.clone().into()),
            ("Signals", self.signals.clone().into()),
            ("Reason", self.reason.clone().into()),
            ("Since", self.since.into()),
            ("Switches", self.switches.into()),
            ("Quarantined", self.quarantined.clone().into()),
            ("LastError", self.last_error.clone().into()),
            ("Version", self.version.clone().into()),
            ("Trial", trial_values(self.trial.as_ref()).into()),
            ("Learning", self.learning.clone().into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals<const N: usize>(values: [(&str, f64); N]) -> BTreeMap<String, f64> {
        values.map(|(name, value)| (name.to_owned(), value)).into()
    }

    #[test]
    fn the_noise_of_a_machine_at_rest_is_not_announced() {
        let announced = signals([("cpu", 0.004), ("io", 0.0)]);
        for (after, expected) in [
            (signals([("cpu", 0.004), ("io", 0.0)]), false),
            (signals([("cpu", 0.013), ("io", 0.002)]), false),
            (signals([("cpu", 0.3), ("io", 0.0)]), true),
            (signals([("cpu", 0.004)]), true),
            (signals([("cpu", 0.004), ("net", 0.0)]), true),
        ] {
            assert_eq!(noticeable(&announced, &after), expected, "{after:?}");
        }
        // A slow change is announced in the end.
        assert!(noticeable(
            &announced,
            &signals([("cpu", 0.03), ("io", 0.0)])
        ));
    }
}
