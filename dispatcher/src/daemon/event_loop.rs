//! The loop of the daemon: from its start, by what the outside says, to its end.
//!
//! What each event does is the daemon's own (`daemon.rs`).

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use auto_ext_profiler::Profiler;
use nix::sys::prctl::set_thp_disable;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::callers::Callers;
use super::export::Export;
use super::line::{Heard, Line};
use super::switching::{ended, finished};
use super::{Daemon, Occasion};
use crate::boots;
use crate::bus::{BusKind, Place};
use crate::commands::levels;
use crate::core::Event;
use crate::daemon_lock::{self, DaemonLock, LockError};
use crate::exit::{Code, WithCode};
use crate::history::Kind;
use crate::policy::Policy;
use crate::policy_watch::PolicyWatch;
use crate::report::Thoughts;
use crate::request::{Asked, Requests};
use crate::uevent::{Subsystem, Uevents};
use crate::window_timer::WindowTimer;

/// How often it is looked whether schedulers were installed or removed.
const LOOK_FOR_PROGRAMS_EVERY: Duration = Duration::from_secs(10);

/// How often systemd is told that the loop still turns, at the least.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// How the daemon was asked to run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The policy.
    pub(crate) config: PathBuf,
    /// Watch and decide, but start nothing.
    pub(crate) observe: bool,
    /// Where to be asked.
    pub(crate) bus: BusKind,
}

/// What the loop hears from outside, beside what the daemon itself waits for.
struct Ears {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    uevents: io::Result<Uevents>,
    asked: mpsc::Receiver<Asked>,
}

/// Runs until SIGTERM or SIGINT; SIGHUP has the policy read again.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    // First of all: whatever comes next changes something that another daemon may be using.
    let lock = take_lock(&options)?;
    let profiler = profiler()?;
    // Huge pages would fill the holes that the kernel's types leave in the heap, with 13 MB of nothing. Not
    // before the profiler has measured what such pages cost.
    if let Err(error) = set_thp_disable(true) {
        tracing::debug!("huge pages stay in use: {error}");
    }
    let (policy, problem) = match Policy::load(&options.config) {
        Ok(policy) => (policy, None),
        // Nothing is known of what the user wants, so the kernel's own scheduler runs.
        Err(error) => (Policy::default(), Some(error.to_string())),
    };
    let (requests, asked) = Requests::channel();
    let ears = Ears {
        terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?,
        interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?,
        hangup: signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?,
        uevents: Uevents::open(),
        asked,
    };
    if let Err(error) = &ears.uevents {
        tracing::warn!("the kernel's events cannot be heard, it is asked every window: {error}");
    }
    let callers = Callers::start().context("no thread to serve callers on")?;
    let export = Export::new(requests.clone(), callers);
    let beside = lock.is_none();
    let (config, observe) = (options.config, options.observe);
    let mut daemon = Daemon::new(config, policy, observe, beside, profiler, export);
    if let Some(error) = problem {
        tracing::error!("{error}");
        daemon.happened(Event::PolicyProblem { error }).await;
    }
    daemon.look_at_the_past(observe).await;
    daemon.look_for_programs().await;
    // Whatever ends it, the machine is left with the kernel's own scheduler.
    let ended = daemon.work(options.bus, requests, ears).await;
    tell_systemd(NotifyState::Stopping);
    let why = ended.as_ref().err();
    let why = why.map_or_else(String::new, |error| format!("{error:#}"));
    daemon.stop(&why).await;
    tracing::info!("stopped");
    drop(lock);
    ended
}

/// Makes sure that there is no other daemon; none is needed beside another by one that starts nothing and that nobody
/// finds where they look for the service.
fn take_lock(options: &Options) -> anyhow::Result<Option<DaemonLock>> {
    if options.observe && options.bus != BusKind::System {
        return Ok(None);
    }
    match DaemonLock::take(daemon_lock::FILE.as_ref()) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ LockError::File { .. }) if !nix::unistd::geteuid().is_root() => {
            let message = format!("the service has to run as root: {error}");
            Err(WithCode::error(Code::NotPermitted, message))
        }
        Err(error) => Err(error.into()),
    }
}

impl Daemon {
    /// Takes its place on the bus, and does what is to be done about what happens until it is to end.
    async fn work(
        &mut self,
        bus: BusKind,
        requests: Requests,
        mut ears: Ears,
    ) -> anyhow::Result<()> {
        let mut policy_watch = PolicyWatch::new(&self.config);
        self.policy_trouble = policy_watch.trouble().map(str::to_owned);
        let place = Place {
            kind: bus,
            sched_ext: self.sched_ext.clone(),
            children: self.children.clone(),
            thoughts: Arc::new(Mutex::new(self.thoughts())),
            requests,
        };
        let current = self.read_current();
        let line = Line::tie(self.export.callers().runtime(), place, current).await;
        self.line = Some(line.map_err(anyhow::Error::new)?);
        // Not before: another auto-ext may run, whose scheduler would be taken for somebody else's.
        self.ask_kernel(Occasion::Told).await;
        self.look_at_power().await;
        self.follow_processes();
        self.serve_metrics();
        tell_systemd(NotifyState::Ready);
        let Thoughts { mode, reason, .. } = self.thoughts();
        tracing::info!(mode, reason, "running, mode {mode}: {reason}");
        let current = self.current.0.clone();
        let version = format!("version {}", env!("CARGO_PKG_VERSION"));
        self.record(Kind::Started, &current, &current, &version, "");

        let mut alive = every(alive_every());
        let window_timer = WindowTimer::new().context("no timer for the windows")?;
        let mut window = self.policy.window;
        let mut textfiles = every(self.policy.metrics.every);
        let mut program_looks = every(LOOK_FOR_PROGRAMS_EVERY);
        let good = sleep(boots::GOOD_AFTER);
        tokio::pin!(good);
        loop {
            let kernel_told = async {
                match &ears.uevents {
                    Ok(uevents) => uevents.next().await,
                    Err(_) => std::future::pending().await,
                }
            };
            let processes_changed = async {
                match &mut self.processes {
                    Some(processes) => processes.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = ears.terminate.recv() => return Ok(()),
                _ = ears.interrupt.recv() => return Ok(()),
                _ = ears.hangup.recv() => {
                    self.happened(Event::Trusted).await;
                    drop(self.reload().await);
                }
                _ = alive.tick() => tell_systemd(NotifyState::Watchdog),
                outcome = finished(&mut self.switching) => self.switch_ended(outcome).await,
                end = ended(&mut self.running) => self.scheduler_exited(end).await,
                subsystem = kernel_told => match subsystem {
                    Subsystem::SchedExt => self.ask_kernel(Occasion::Told).await,
                    Subsystem::PowerSupply => self.look_at_power().await,
                },
                events = processes_changed => self.happened(Event::Processes(events)).await,
                Some(asked) = ears.asked.recv() => self.serve(asked).await,
                heard = heard(&mut self.line) => self.line_told(heard).await,
                () = policy_watch.changed() => {
                    self.policy_trouble = policy_watch.trouble().map(str::to_owned);
                    // What is wrong with it has been said and recorded by then.
                    drop(self.reload().await);
                    self.show().await;
                }
                () = &mut good, if !good.is_elapsed() => drop(tokio::spawn(self.boot_is_good())),
                () = window_timer.ended() => {
                    let begun = Instant::now();
                    self.window().await;
                    let next = if self.state.levels_may_change() {
                        window / 2
                    } else {
                        window
                    };
                    window_timer
                        .end_after(next.saturating_sub(begun.elapsed()))
                        .context("the timer of the windows cannot be set")?;
                }
                _ = textfiles.tick() => {
                    self.serve_metrics();
                    self.write_textfile();
                }
                _ = program_looks.tick() => {
                    self.look_for_programs().await;
                    // The kernel's word on it may have been lost.
                    self.look_at_power().await;
                    self.look_at_appetite();
                    self.cgroups.clear_away();
                }
            }
            if window != self.policy.window {
                window = self.policy.window;
                window_timer
                    .end_after(window)
                    .context("the timer of the windows cannot be set")?;
            }
            if textfiles.period() != self.policy.metrics.every {
                textfiles = every(self.policy.metrics.every);
            }
        }
    }
}

/// What can be measured, which may be nothing; that is said.
fn profiler() -> anyhow::Result<Profiler> {
    match Profiler::attach() {
        Ok(profiler) => {
            for (signal, reason) in profiler.missing() {
                tracing::warn!("{signal} cannot be measured: {reason}");
            }
            Ok(profiler)
        }
        // Who is root and may not is in a strange place, and can still pin.
        Err(error) if nix::unistd::geteuid().is_root() => {
            tracing::error!("the load cannot be measured: {error}");
            Ok(Profiler::detached(&error))
        }
        Err(error) => Err(levels::refused(&error)),
    }
}

/// How often systemd is to be told that the loop still turns: it waits for [`ALIVE_EVERY`], or less
/// when the unit says so.
fn alive_every() -> Duration {
    let mut limit_us = 0;
    if sd_notify::watchdog_enabled(false, &mut limit_us) {
        let third = Duration::from_micros(limit_us) / 3;
        return third.clamp(Duration::from_millis(1), ALIVE_EVERY);
    }
    ALIVE_EVERY
}

async fn heard(line: &mut Option<Line>) -> Heard {
    match line {
        Some(line) => line.heard().await,
        None => std::future::pending().await,
    }
}

fn tell_systemd(state: NotifyState<'_>) {
    // Not started by systemd, or it does not listen: there is nobody to tell.
    let _ = sd_notify::notify(false, &[state]);
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    // After a pause one window is as good as the ones that were missed.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
