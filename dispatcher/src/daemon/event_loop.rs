//! The daemon from its start to its end: a loop that waits for whatever happens next.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use auto_ext_core::Event;
use auto_ext_policy::Policy;
use auto_ext_profiler::Profiler;
use auto_ext_scx::switch;
use auto_ext_scx::uevent::{Subsystem, Uevents};
use auto_ext_service::daemon_lock::{DAEMON, DaemonLock, LockError};
use auto_ext_service::exit_code::{Code, WithCode};
use nix::sys::prctl::set_thp_disable;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::bus_connection::{BusConnection, BusEvent};
use super::callers::Callers;
use super::kernel::Occasion;
use super::measuring::due;
use super::metrics_export::Export;
use super::outcomes::ended;
use super::scx_loader;
use super::state::Daemon;
use super::switching::finished;
use super::trial_work::changed;
use crate::api::dbus::{BusConfig, BusKind};
use crate::api::request::{QueuedRequest, Requests};
use crate::api::status::DaemonStatus;
use crate::persistence::boot_guard;
use crate::persistence::history::Kind;
use crate::sources::load;
use crate::sources::policy_file::PolicyWatch;
use crate::sources::read_policy;
use crate::sources::window_timer::WindowTimer;

/// How often it is checked whether schedulers were installed or removed.
const FIND_PROGRAMS_EVERY: Duration = Duration::from_secs(10);

/// How often, at least, systemd is notified that the loop still runs.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Where the lock of the one daemon is.
pub(crate) const LOCK: &str = "/run/auto-ext/lock";

/// How the daemon was asked to run.
#[derive(Debug)]
pub(crate) struct Options {
    /// The policy.
    pub(crate) config: PathBuf,
    /// Watch and decide, but start nothing.
    pub(crate) observe: bool,
    /// The bus on which callers ask.
    pub(crate) bus: BusKind,
    /// Where all that is decided on is recorded.
    pub(crate) record: Option<File>,
}

/// What the loop waits for beside what the daemon holds.
struct Inputs {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    uevents: io::Result<Uevents>,
    requests: mpsc::Receiver<QueuedRequest>,
}

/// Runs until SIGTERM or SIGINT; SIGHUP has the policy read again.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    // First of all, as whatever comes next changes something that another daemon may be using.
    let lock = take_lock(&options)?;
    let profiler = profiler()?;
    // Huge pages would fill the holes that the kernel's types leave in the heap, with 13 MB that nobody uses. Only now,
    // as the profiler has to measure what such pages cost.
    if let Err(error) = set_thp_disable(true) {
        tracing::debug!("huge pages stay in use: {error}");
    }
    let read = read_policy::read(&options.config);
    let (policy, problem) = match read.checked {
        Ok(checked) => (checked.policy, None),
        // It is not known what the user wants, so the kernel's own scheduler runs.
        Err(error) => (Policy::default(), Some(error.to_string())),
    };
    let (requests, queue) = Requests::channel();
    let inputs = Inputs {
        terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?,
        interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?,
        hangup: signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?,
        uevents: Uevents::open(),
        requests: queue,
    };
    if let Err(error) = &inputs.uevents {
        tracing::warn!("the kernel's events cannot be received, it is asked every window: {error}");
    }
    let callers = Callers::start().context("no thread to serve callers on")?;
    let export = Export::new(requests.clone(), callers);
    let beside = lock.is_none();
    let (config, observe) = (options.config, options.observe);
    let mut daemon = Daemon::new(config, policy, observe, beside, profiler, export);
    daemon.list_files = read.lists;
    if let Some(file) = options.record {
        let begun = daemon.begin_recording(file);
        begun.context("what is decided on cannot be recorded")?;
    }
    daemon.begin_trials().await;
    if let Some(error) = problem {
        tracing::error!("{error}");
        daemon.apply_event(Event::PolicyProblem { error }).await;
    }
    daemon.read_past(observe).await;
    daemon.look_for_core_scheduling().await;
    daemon.find_programs().await;
    // Whatever ends it, the machine is left with the kernel's own scheduler.
    let ended = daemon.work(options.bus, requests, inputs).await;
    tell_systemd(NotifyState::Stopping);
    let why = ended.as_ref().err();
    let why = why.map_or_else(String::new, |error| format!("{error:#}"));
    daemon.stop(&why).await;
    tracing::info!("stopped");
    drop(lock);
    ended
}

/// Makes sure that there is no other daemon. One that starts nothing and is not on the system bus may run beside another,
/// and takes no lock.
fn take_lock(options: &Options) -> anyhow::Result<Option<DaemonLock>> {
    if options.observe && options.bus != BusKind::System {
        return Ok(None);
    }
    match DaemonLock::take("auto-ext", DAEMON, LOCK.as_ref()) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ LockError::File { .. }) if !nix::unistd::geteuid().is_root() => {
            let message = format!("the service has to run as root: {error}");
            Err(WithCode::error(Code::NotPermitted, message))
        }
        Err(error) => Err(error.into()),
    }
}

impl Daemon {
    /// Begins, and does what is to be done about whatever happens until the daemon is to end.
    async fn work(
        &mut self,
        bus: BusKind,
        requests: Requests,
        mut inputs: Inputs,
    ) -> anyhow::Result<()> {
        let mut policy_watch = PolicyWatch::new(&self.config);
        self.policy_trouble = policy_watch.trouble().map(str::to_owned);
        self.begin(bus, requests).await?;
        let mut alive = every(alive_every());
        let window_timer = WindowTimer::new().context("no timer for the windows")?;
        let mut window = self.policy.window;
        let mut textfiles = every(self.policy.metrics.every);
        let mut find_programs = every(FIND_PROGRAMS_EVERY);
        let good = sleep(boot_guard::GOOD_AFTER);
        tokio::pin!(good);
        loop {
            policy_watch.watch_lists(&self.list_files);
            let uevent = async {
                match &inputs.uevents {
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
                _ = inputs.terminate.recv() => return Ok(()),
                _ = inputs.interrupt.recv() => return Ok(()),
                _ = inputs.hangup.recv() => {
                    self.apply_event(Event::SafeModeEnded).await;
                    drop(self.reload().await);
                }
                _ = alive.tick() => tell_systemd(NotifyState::Watchdog),
                outcome = finished(&mut self.switching) => self.switch_ended(outcome).await,
                end = ended(&mut self.running) => self.scheduler_exited(end).await,
                subsystem = uevent => match subsystem {
                    Subsystem::SchedExt => self.ask_kernel(Occasion::Reported).await,
                    Subsystem::PowerSupply => self.read_power().await,
                },
                events = processes_changed => self.apply_event(Event::Processes(events)).await,
                Some(request) = inputs.requests.recv() => self.serve(request).await,
                event = bus_event(&mut self.bus) => self.apply_bus_event(event).await,
                unquiet = changed(&mut self.trials.surroundings) => {
                    self.surroundings_changed(unquiet).await;
                }
                due = due(&mut self.trials.measuring) => self.reading_due(due).await,
                () = policy_watch.changed() => {
                    self.policy_trouble = policy_watch.trouble().map(str::to_owned);
                    // What is wrong with it has been logged and recorded by then.
                    drop(self.reload().await);
                    self.show().await;
                }
                () = &mut good, if !good.is_elapsed() => drop(tokio::spawn(self.boot_is_good())),
                () = window_timer.ended() => self.end_window(&window_timer, window).await?,
                _ = textfiles.tick() => {
                    self.serve_metrics();
                    self.write_textfile();
                }
                _ = find_programs.tick() => {
                    self.look_for_core_scheduling().await;
                    self.find_programs().await;
                    self.find_here().await;
                    // The kernel's report of a change may have been lost.
                    self.read_power().await;
                    self.check_for_spinning();
                    self.cgroups.clear_away();
                }
            }
            if window != self.policy.window {
                window = self.policy.window;
                end_after(&window_timer, window)?;
            }
            if textfiles.period() != self.policy.metrics.every {
                textfiles = every(self.policy.metrics.every);
            }
        }
    }

    /// Takes the name on the bus, finds out what there is, and tells systemd that the daemon is ready.
    async fn begin(&mut self, bus: BusKind, requests: Requests) -> anyhow::Result<()> {
        let config = BusConfig {
            kind: bus,
            sched_ext: self.sched_ext.clone(),
            registry: self.registry.clone(),
            status: Arc::new(Mutex::new(self.status())),
            requests,
        };
        let current = self.read_current();
        let bus = BusConnection::connect(self.export.callers().runtime(), config, current).await;
        self.bus = Some(bus.map_err(anyhow::Error::new)?);
        // Not before: another auto-ext may run, whose scheduler would be taken for somebody else's.
        self.ask_kernel(Occasion::Reported).await;
        self.read_power().await;
        self.follow_processes();
        self.follow_surroundings().await;
        self.serve_metrics();
        self.offer_scx_loader().await;
        tell_systemd(NotifyState::Ready);
        let DaemonStatus { mode, reason, .. } = self.status();
        tracing::info!(mode, reason, "running, mode {mode}: {reason}");
        let current = self.observed.scheduler().to_owned();
        let version = format!("version {}", env!("CARGO_PKG_VERSION"));
        self.record(Kind::Started, &current, &current, &version, "");
        Ok(())
    }

    /// Ends a window of the length `window`; the next one is shorter if a level may change with it.
    async fn end_window(&mut self, timer: &WindowTimer, window: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.window().await;
        let next = if self.state.levels_may_change() {
            window / 2
        } else {
            window
        };
        end_after(timer, next.saturating_sub(begun.elapsed()))
    }

    /// Ends a window: reads the counters, and has the core decide about what was measured.
    async fn window(&mut self) {
        let sample = self.profiler.sample();
        let (dt, signals) = self.windows.end(sample, self.profiler.machine());
        let counters = self.counters.counters();
        counters.passed(dt, self.observed.scheduler(), self.state.class());
        if self.state.trials().trial().is_some() {
            counters.tried(dt, self.observed.scheduler());
        }
        self.ask_kernel(Occasion::Window).await;
        if let Some(signals) = signals {
            if let Some(recording) = &mut self.recording {
                recording.measured(sample, *self.profiler.machine());
            }
            let (machine, scheduler) = (*self.profiler.machine(), self.observed.scheduler());
            self.recent.push(dt, signals, sample, machine, scheduler);
            self.apply_event(Event::Window { dt, signals }).await;
        }
    }

    /// Leaves the machine with the kernel's own scheduler, whatever is on its way. `error` is why the daemon ends; empty
    /// when it was asked to.
    async fn stop(mut self, error: &str) {
        self.measure(false);
        if let Some(switching) = self.switching.take() {
            self.running = switching.end().await;
        }
        if let Some(mut running) = self.running.take()
            && let Err(error) = switch::stop(&self.sched_ext, &self.registry, &mut running).await
        {
            let scheduler = &running.scheduler().name;
            tracing::error!(scheduler, "{scheduler} cannot be stopped: {error}");
        }
        let before = self.observed.scheduler().to_owned();
        let now = self.read_current();
        let now = now.current_scheduler;
        self.record(Kind::Stopped, &before, &now, "", error);
        self.announce_change("auto-ext was stopped").await;
        self.export.end();
        if let Some(bus) = self.bus.take() {
            bus.leave().await;
        }
        if !self.beside {
            scx_loader::remove_offered();
        }
        self.boot_is_good().await;
        self.history.close();
        self.failure_store.close();
        if let Some(store) = self.trials.store.take() {
            store.close();
        }
    }
}

fn end_after(timer: &WindowTimer, time: Duration) -> anyhow::Result<()> {
    timer
        .end_after(time)
        .context("the timer of the windows cannot be set")
}

/// Attaches the profiler. What cannot be measured is logged.
fn profiler() -> anyhow::Result<Profiler> {
    match Profiler::attach() {
        Ok(profiler) => {
            for (signal, reason) in profiler.missing() {
                tracing::warn!("{signal} cannot be measured: {reason}");
            }
            Ok(profiler)
        }
        // Root that may not is in a container or the like, where it can still pin.
        Err(error) if nix::unistd::geteuid().is_root() => {
            tracing::error!("the load cannot be measured: {error}");
            Ok(Profiler::detached(&error))
        }
        Err(error) => Err(load::refused(&error)),
    }
}

/// How often systemd is to be notified that the loop still runs: every [`ALIVE_EVERY`], or more often when the unit says so.
fn alive_every() -> Duration {
    let mut limit_us = 0;
    if sd_notify::watchdog_enabled(false, &mut limit_us) {
        let third = Duration::from_micros(limit_us) / 3;
        return third.clamp(Duration::from_millis(1), ALIVE_EVERY);
    }
    ALIVE_EVERY
}

async fn bus_event(bus: &mut Option<BusConnection>) -> BusEvent {
    match bus {
        Some(bus) => bus.event().await,
        None => std::future::pending().await,
    }
}

fn tell_systemd(state: NotifyState<'_>) {
    // Not started by systemd, or it does not listen: there is nobody to tell.
    let _ = sd_notify::notify(false, &[state]);
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    // After a pause, one is as good as all that were missed.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
