//! The daemon from its start to its end: a second after the other, and what callers ask in between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use auto_ext_bus::join::BusKind;
use auto_ext_bus::line;
use auto_ext_service::affinity_owner;
use auto_ext_service::daemon_lock::{DAEMON, DaemonLock, LockError};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::affinity::{self, System};
use crate::config::Config;
use crate::core::{Act, Moment};

use super::bus::OnBus;
use super::counting::Source;
use super::request::{Input, Requests};
use super::state::{Daemon, Parts};
use super::status::Status;

/// Where /sys and /proc are.
const ROOT: &str = "/";
const SECOND: Duration = Duration::from_secs(1);
/// What is late by more than this does not catch up.
const LATE: Duration = Duration::from_secs(2);
/// After so many seconds the service is ready without a bus too.
const BUS_WITHIN: u32 = 10;
/// How many callers may wait.
const WAITING: usize = 16;
const LOCK: &str = "lock";

/// How the daemon was asked to run.
pub struct Options {
    /// The configuration.
    pub config: PathBuf,
    /// Place nothing, whatever it says.
    pub observe: bool,
    /// Where callers ask.
    pub bus: BusKind,
    /// Where what is known is kept.
    pub state: PathBuf,
    /// Where it is written down what was placed.
    pub run: PathBuf,
    /// Where counters come from.
    pub source: Box<dyn Source>,
    /// How long it is looked how busy groups are until something is said.
    pub enough: Duration,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel does not say how long a tick is.
    #[error("the length of a tick is not known")]
    Ticks,
    /// Another one runs, or it cannot be seen to it that none does.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no thread for the bus.
    #[error("no thread for the bus: {0}")]
    Thread(io::Error),
    /// The bus does not give the name.
    #[error("{0}")]
    Bus(String),
}

/// Runs until SIGTERM or SIGINT; SIGHUP has the configuration read again.
///
/// # Errors
/// When it cannot begin. Nothing is placed then.
pub fn run(options: Options) -> Result<(), RunError> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok());
    let ticks = ticks.filter(|ticks| *ticks > 0).ok_or(RunError::Ticks)?;
    let _lock = DaemonLock::take(affinity::SERVICE, DAEMON, &options.run.join(LOCK))?;
    let config = configured(&options.config, options.observe);
    let mut daemon = Daemon::new(Parts {
        root: ROOT.into(),
        state: options.state,
        run: options.run,
        owners: affinity_owner::DIRECTORY.into(),
        config: config.unwrap_or_default(),
        source: options.source,
        masks: Box::new(System),
        ticks,
        enough: options.enough,
    });
    let now = since_boot();
    daemon.begin(now);
    let (inputs, queue) = mpsc::sync_channel(WAITING);
    let (shown, status) = watch::channel(daemon.status(now));
    let bus = OnBus::new(status, Requests::new(inputs.clone()));
    let kind = options.bus;
    let serve = move || callers(kind, bus, &inputs);
    let thread = thread::Builder::new().name("callers".to_owned());
    thread.spawn(serve).map_err(RunError::Thread)?;
    let reload = || configured(&options.config, options.observe);
    let ended = work(&mut daemon, &queue, &shown, reload);
    tell_systemd(NotifyState::Stopping);
    daemon.end();
    tracing::info!("stopped");
    ended
}

/// What is configured; `None` where something is wrong with it, which is logged: it is not known then what is wanted.
fn configured(path: &Path, observe: bool) -> Option<Config> {
    match Config::read(path) {
        Ok(mut config) => {
            if observe {
                config.act = Act::Observe;
            }
            Some(config)
        }
        Err(error) => {
            tracing::error!("{error}");
            None
        }
    }
}

/// Does what is to be done each second, and what callers ask, until the daemon is to end.
fn work(
    daemon: &mut Daemon,
    inputs: &Receiver<Input>,
    shown: &watch::Sender<Status>,
    reload: impl Fn() -> Option<Config>,
) -> Result<(), RunError> {
    let mut next = since_boot();
    let mut steps = 0;
    loop {
        let now = since_boot();
        if now >= next {
            // By the time that it should have been, so that windows and turns are as long as each other.
            daemon.step(if now - next > LATE { now } else { next });
            show(daemon, shown, now);
            tell_systemd(NotifyState::Watchdog);
            next = (next + SECOND).max(now.saturating_sub(LATE));
            steps += 1;
            if steps == BUS_WITHIN {
                tell_systemd(NotifyState::Ready);
            }
            continue;
        }
        match inputs.recv_timeout(next - now) {
            Ok(Input::Ask(request, reply)) => {
                let now = since_boot();
                // Who has asked may have left.
                let _ = reply.send(daemon.answer(request, now));
                show(daemon, shown, now);
            }
            Ok(Input::Joined) => tell_systemd(NotifyState::Ready),
            Ok(Input::NoBus(why)) => return Err(RunError::Bus(why)),
            Ok(Input::Reload) => {
                if let Some(config) = reload() {
                    daemon.follow(config, since_boot());
                }
            }
            Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn show(daemon: &Daemon, shown: &watch::Sender<Status>, now: Moment) {
    let status = daemon.status(now);
    shown.send_if_modified(|before| {
        let is_new = *before != status;
        *before = status;
        is_new
    });
}

/// Serves callers and waits for signals, on a thread of its own.
fn callers(kind: BusKind, bus: OnBus, inputs: &mpsc::SyncSender<Input>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // The loop is gone only when the program ends.
            let _ = inputs.send(Input::NoBus(error.to_string()));
            return;
        }
    };
    runtime.block_on(async {
        let signals = signals(inputs);
        let joined = inputs.clone();
        if kind == BusKind::None {
            let _ = inputs.send(Input::Joined);
        }
        let served = line::serve(kind, bus, || drop(joined.try_send(Input::Joined)));
        tokio::select! {
            served = served => if let Err(error) = served {
                let _ = inputs.send(Input::NoBus(error.to_string()));
            },
            error = signals => {
                let _ = inputs.send(Input::NoBus(format!("signals cannot be handled: {error}")));
            }
        }
    });
}

/// Passes signals on to the loop; ends only with an error.
async fn signals(inputs: &mpsc::SyncSender<Input>) -> io::Error {
    let all = (|| {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok((terminate, interrupt, signal(SignalKind::hangup())?))
    })();
    let (mut terminate, mut interrupt, mut hangup) = match all {
        Ok(all) => all,
        Err(error) => return error,
    };
    loop {
        let input = tokio::select! {
            _ = terminate.recv() => Input::Stop,
            _ = interrupt.recv() => Input::Stop,
            _ = hangup.recv() => Input::Reload,
        };
        // It waits for room: the loop takes what is asked several times a second.
        if inputs.send(input).is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn since_boot() -> Moment {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .expect("every Linux has this clock")
        .into()
}

fn tell_systemd(state: NotifyState<'_>) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(false, &[state]);
}
