//! The daemon's connection to the bus, which may be lost at any time and is then made again.
//!
//! The bus is served on the thread of callers, so that schedulers do not wait for it. While it is not there or hangs,
//! nothing is announced; when it goes, the holds of its callers end.

use std::time::Duration;

use auto_ext_service::lock::lock;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::api::dbus::{Bus, BusConfig, BusError};
use crate::api::status::{Current, DaemonStatus};
use crate::sources;

/// How long the bus may take for a message.
const SENT_WITHIN: Duration = Duration::from_secs(1);
/// How long it may take to connect and to get the name.
const JOINED_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before the connection is tried again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// How many signals may wait to be sent; further ones are not, while the bus is that slow.
const WAITING: usize = 64;

/// The daemon's end of the connection.
pub(super) struct BusConnection {
    config: BusConfig,
    current: watch::Sender<Current>,
    signals: mpsc::Sender<Signal>,
    events: mpsc::Receiver<BusEvent>,
    work: JoinHandle<()>,
}

/// What is announced by a signal.
enum Signal {
    /// The scheduler changed.
    Switched {
        from: String,
        to: String,
        reason: String,
        gap_us: u64,
    },
    /// A trial ended.
    TrialEnded {
        class: String,
        candidate: String,
        outcome: String,
    },
}

/// An event of the bus.
#[derive(Debug)]
pub(super) enum BusEvent {
    /// It was lost, and all callers with it. It is connected again when this was answered.
    Disconnected(oneshot::Sender<()>),
    /// What other services on the bus report.
    Source(sources::Change),
}

/// The other end, on the thread of callers.
struct Worker {
    config: BusConfig,
    current: watch::Receiver<Current>,
    signals: mpsc::Receiver<Signal>,
    events: mpsc::Sender<BusEvent>,
}

/// Why the bus is not served any more.
enum End {
    /// It has gone, or takes no messages.
    Disconnected,
    /// The daemon ends the connection.
    Leave,
}

impl BusConnection {
    /// Makes the connection, whose other end is on `callers`. A bus that is not there or hangs is waited for in the
    /// background.
    ///
    /// # Errors
    /// When the bus is there, but refuses the name.
    pub(super) async fn connect(
        callers: &Handle,
        config: BusConfig,
        current: Current,
    ) -> Result<Self, BusError> {
        let (current, shown) = watch::channel(current);
        let (signals, announced) = mpsc::channel(WAITING);
        let (sender, events) = mpsc::channel(1);
        let worker = Worker {
            config: config.clone(),
            current: shown,
            signals: announced,
            events: sender,
        };
        let there = config.clone();
        let join = callers.spawn(async move { timeout(JOINED_WITHIN, there.join()).await });
        let why = match join.await.expect("who joins neither panics nor is aborted") {
            Ok(Ok(bus)) => {
                let work = match bus {
                    Some(bus) => callers.spawn(worker.work(Some(bus))),
                    None => callers.spawn(std::future::ready(())),
                };
                return Ok(Self {
                    config,
                    current,
                    signals,
                    events,
                    work,
                });
            }
            Ok(Err(error)) if error.is_final() => return Err(error),
            Ok(Err(error)) => error.to_string(),
            Err(_) => no_answer(JOINED_WITHIN),
        };
        tracing::warn!("running without D-Bus until it is there: {why}");
        Ok(Self {
            config,
            current,
            signals,
            events,
            work: callers.spawn(worker.work(None)),
        })
    }

    /// Waits for the next event. Can be dropped and called again.
    pub(super) async fn event(&mut self) -> BusEvent {
        match self.events.recv().await {
            Some(event) => event,
            // There is to be no bus.
            None => std::future::pending().await,
        }
    }

    /// Shows what the kernel runs, and the daemon's status.
    pub(super) fn show(&self, current: Current, status: DaemonStatus) {
        // Whoever reads it finds it at once; it is announced in the background.
        *lock(&self.config.status) = status;
        self.current.send_replace(current);
    }

    /// Announces that the scheduler changed.
    pub(super) fn switched(&self, from: &str, to: &str, reason: &str, gap_us: u64) {
        self.announce(Signal::Switched {
            from: from.to_owned(),
            to: to.to_owned(),
            reason: reason.to_owned(),
            gap_us,
        });
    }

    /// Announces that a trial has ended.
    pub(super) fn trial_ended(&self, class: &str, candidate: &str, outcome: &str) {
        self.announce(Signal::TrialEnded {
            class: class.to_owned(),
            candidate: candidate.to_owned(),
            outcome: outcome.to_owned(),
        });
    }

    fn announce(&self, signal: Signal) {
        // Without a bus, or with one that takes no messages, nobody would receive it.
        let _ = self.signals.try_send(signal);
    }

    /// Gives the name back, and ends the connection.
    pub(super) async fn leave(self) {
        let Self {
            current,
            signals,
            events,
            mut work,
            ..
        } = self;
        drop((current, signals, events));
        // A bus that hangs notices the end of the connection by itself.
        if timeout(2 * SENT_WITHIN, &mut work).await.is_err() {
            work.abort();
        }
    }
}

impl Worker {
    /// Serves the bus, one after the other, until the daemon ends the connection.
    async fn work(mut self, mut bus: Option<Bus>) {
        loop {
            let there = match bus.take() {
                Some(bus) => bus,
                None => {
                    let joined = tokio::select! {
                        joined = join_again(&self.config) => joined,
                        () = self.events.closed() => return,
                    };
                    tracing::info!("on D-Bus again");
                    // What was to be announced until now is old.
                    while self.signals.try_recv().is_ok() {}
                    joined
                }
            };
            match self.serve(there).await {
                End::Leave => return,
                End::Disconnected => {
                    let (answer, answered) = oneshot::channel();
                    if self
                        .events
                        .send(BusEvent::Disconnected(answer))
                        .await
                        .is_err()
                    {
                        return;
                    }
                    // It is dropped only with the daemon.
                    let _ = answered.await;
                }
            }
        }
    }

    /// Serves this bus to its end.
    async fn serve(&mut self, mut bus: Bus) -> End {
        let gone = bus.gone();
        tokio::pin!(gone);
        let mut changes = sources::listen(Some(bus.connection()));
        // So far it shows what was known when it was joined.
        self.current.mark_changed();
        let why = loop {
            tokio::select! {
                biased;
                () = &mut gone => {
                    tracing::warn!("D-Bus has gone; it is waited for");
                    return End::Disconnected;
                }
                changed = self.current.changed() => match changed {
                    Ok(()) => if let Err(why) = self.show(&mut bus).await {
                        break why;
                    },
                    Err(_) => {
                        let _ = timeout(SENT_WITHIN, bus.leave()).await;
                        return End::Leave;
                    }
                },
                Some(signal) = self.signals.recv() => {
                    // After the properties, which whoever receives it may read at once.
                    if let Err(why) = sent(signal.send(&bus)).await {
                        break why;
                    }
                }
                () = bus.scx_loader_left() => if let Err(why) = sent(bus.follow_scx_loader()).await {
                    break why;
                },
                Some(change) = changes.recv() => {
                    if self.events.send(BusEvent::Source(change)).await.is_err() {
                        let _ = timeout(SENT_WITHIN, bus.leave()).await;
                        return End::Leave;
                    }
                }
            }
        };
        tracing::warn!("D-Bus takes no messages; it is connected again: {why}");
        bus.hang_up();
        End::Disconnected
    }

    async fn show(&mut self, bus: &mut Bus) -> Result<(), String> {
        let current = self.current.borrow_and_update().clone();
        let status = lock(&self.config.status).clone();
        sent(bus.show(current, status)).await
    }
}

impl Signal {
    async fn send(&self, bus: &Bus) -> zbus::Result<()> {
        match self {
            Self::Switched {
                from,
                to,
                reason,
                gap_us,
            } => bus.switched(from, to, reason, *gap_us).await,
            Self::TrialEnded {
                class,
                candidate,
                outcome,
            } => bus.trial_ended(class, candidate, outcome).await,
        }
    }
}

/// Waits until the bus has taken a message.
async fn sent(sending: impl Future<Output = zbus::Result<()>>) -> Result<(), String> {
    match timeout(SENT_WITHIN, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(no_answer(SENT_WITHIN)),
    }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(within))
}

/// Tries to join the bus until that works; logs once what is in the way.
async fn join_again(config: &BusConfig) -> Bus {
    let [mut pause, longest] = PAUSES;
    let mut said = false;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(longest);
        let error = match timeout(JOINED_WITHIN, config.join()).await {
            Ok(Ok(Some(bus))) => return bus,
            // There is to be no bus.
            Ok(Ok(None)) => return std::future::pending().await,
            Ok(Err(error)) => error,
            Err(_) => continue,
        };
        // That there is none yet is no problem: it is waited for.
        if error.is_final() && !std::mem::replace(&mut said, true) {
            tracing::warn!("not on D-Bus: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::api::dbus::BusKind;
    use crate::api::request::Requests;
    use auto_ext_core::State as CoreState;
    use auto_ext_policy::Policy;
    use auto_ext_scx::process::registry::ProcessRegistry;
    use auto_ext_scx::sysfs::SchedExt;

    #[tokio::test]
    async fn who_wants_no_bus_hears_nothing_of_one() {
        let policy = Policy::default();
        let state = CoreState::new(&policy, true);
        let status = DaemonStatus::of(&policy, &state, Duration::ZERO, 0, 0, 0);
        let sched_ext = SchedExt::below("/nonexistent".as_ref());
        let current = Current::read(&sched_ext, &ProcessRegistry::default());
        let config = BusConfig {
            kind: BusKind::None,
            sched_ext,
            registry: ProcessRegistry::default(),
            status: Arc::new(Mutex::new(status.clone())),
            requests: Requests::channel().0,
        };
        let here = Handle::current();
        let connected = BusConnection::connect(&here, config, current.clone());
        let mut bus = connected.await.unwrap();
        bus.show(current, status);
        bus.switched("kernel", "scx_a", "", 0);
        bus.trial_ended("a", "flash", "");
        let event = timeout(Duration::from_millis(20), bus.event()).await;
        assert!(event.is_err());
        bus.leave().await;
    }
}
