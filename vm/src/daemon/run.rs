//! The service with its threads: one that looks and acts, which nobody who asks can hold up, and one for the bus, signals and systemd.

use std::pin::pin;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use auto_ext_bus::join::{BusError, BusKind};
use auto_ext_bus::line;
use auto_ext_service::daemon_lock::DaemonLock;
use sd_notify::NotifyState;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::bus::{Offered, Shown};
use super::request::{Message, Requests};
use super::work::Daemon;
use crate::host::Host;

/// How often, at least, systemd is notified that the loop still runs.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Where the lock of the one service is, within the directory for what outlives it.
pub const LOCK: &str = "lock";

/// Runs until SIGTERM or SIGINT; SIGHUP has the configuration read again. `lock` is held meanwhile: there is one host.
///
/// # Errors
/// When another service has the name on the bus, or the system gives no threads or signals.
pub fn run<H: Host + Send + 'static>(
    daemon: Daemon<H>,
    bus: BusKind,
    lock: DaemonLock,
) -> anyhow::Result<()> {
    let (requests, asked) = Requests::channel();
    let (show, shown) = watch::channel(Shown::default());
    let offered = Offered::new(requests.clone(), shown);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no threads to serve callers on")?;
    thread::scope(|scope| {
        let work = scope.spawn(move || work(daemon, &asked, &show));
        let ended = runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut hangup = signal(SignalKind::hangup())?;
            let mut serves = pin!(line::serve(bus, offered, ready));
            loop {
                tokio::select! {
                    _ = terminate.recv() => break Ok(()),
                    _ = interrupt.recv() => break Ok(()),
                    _ = hangup.recv() => requests.reload(),
                    served = &mut serves => break match served {
                        Ok(()) | Err(BusError::Unreachable(..)) => Ok(()),
                        Err(error) => Err(anyhow::Error::from(error)),
                    },
                }
            }
        });
        tell_systemd(NotifyState::Stopping);
        requests.end();
        work.join().expect("a panic ends the program");
        drop(lock);
        ended
    })
}

fn ready() {
    tell_systemd(NotifyState::Ready);
}

/// A window after the other, and requests in between, until the end.
fn work<H: Host>(mut daemon: Daemon<H>, asked: &Receiver<Message>, show: &watch::Sender<Shown>) {
    // Without a bus nobody asks, and it works all the same.
    tell_systemd(NotifyState::Ready);
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next {
            daemon.window();
            publish(&daemon, show);
            tell_systemd(NotifyState::Watchdog);
            // What was missed, because the host hung or slept, is not made up for.
            next = now.max(next) + daemon.interval();
        }
        let left = next.saturating_duration_since(Instant::now());
        match asked.recv_timeout(left.min(ALIVE_EVERY)) {
            Ok(Message::Request(queued)) => {
                let answer = daemon.request(queued.request);
                // Who asked may have left.
                let _ = queued.answer.send(answer);
                publish(&daemon, show);
            }
            Ok(Message::Reload) => {
                daemon.reload();
                // What it says holds at once.
                next = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => tell_systemd(NotifyState::Watchdog),
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    daemon.end();
}

fn publish<H: Host>(daemon: &Daemon<H>, show: &watch::Sender<Shown>) {
    let now = daemon.shown();
    show.send_if_modified(|shown| {
        let is_new = *shown != now;
        *shown = now;
        is_new
    });
}

fn tell_systemd(state: NotifyState<'_>) {
    // Not started by systemd, or it does not listen: there is nobody to tell.
    let _ = sd_notify::notify(false, &[state]);
}
