//! The service: one loop that turns what happens into events, has them decided, and carries the
//! actions out.
//!
//! What callers ask is served in `requests`, what comes of switches in `switching`, metrics are
//! written and served by `export`.

mod export;
mod requests;
mod switching;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use auto_ext_profiler::{Profiler, Sample, Signals};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::error::Elapsed;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::bus::{Bus, BusKind};
use crate::cgroup::Cgroups;
use crate::children::Children;
use crate::commands::levels;
use crate::core::{Action, Event, Moment, State, decide};
use crate::history::{History, Kind};
use crate::kernel::SchedExt;
use crate::metrics::counters::Kept;
use crate::policy::Policy;
use crate::policy_watch::PolicyWatch;
use crate::processes::Processes;
use crate::report::{Current, Thoughts};
use crate::request::Requests;
use crate::scheduler_process::SchedulerProcess;
use crate::surroundings::{self, Change, PowerSupplies};
use crate::uevent::{Subsystem, Uevents};
use crate::{program, switch};
use export::Export;
use requests::Holders;
use switching::{Switching, ended, finished};

/// How often it is looked whether schedulers were installed or removed.
const LOOK_FOR_PROGRAMS_EVERY: Duration = Duration::from_secs(10);

/// How often systemd is told that the loop still turns; the unit wants it within 60 s.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Where the history is kept when systemd does not say.
const STATE_DIRECTORY: &str = "/var/lib/auto-ext";
/// Where the counters are, which end with the machine's time.
const RUNTIME_DIRECTORY: &str = "/run/auto-ext";

/// How long D-Bus may take; schedulers are not to wait for it.
const BUS_WITHIN: Duration = Duration::from_secs(1);

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

/// Runs until SIGTERM or SIGINT; SIGHUP has the policy read again.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let profiler = levels::attach()?;
    for (signal, reason) in profiler.missing() {
        tracing::warn!("{signal} cannot be measured: {reason}");
    }
    let (policy, problem) = match Policy::load(&options.config) {
        Ok(policy) => (policy, None),
        // Nothing is known of what the user wants, so the kernel's own scheduler runs.
        Err(error) => (Policy::default(), Some(error.to_string())),
    };
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?;
    let uevents = Uevents::open();
    if let Err(error) = &uevents {
        tracing::warn!("the kernel's events cannot be heard, it is asked every window: {error}");
    }

    let (requests, mut asked) = Requests::channel();
    let export = Export::new(requests.clone());
    let mut daemon = Daemon::new(options.config, policy, options.observe, profiler, export);
    if let Some(error) = problem {
        tracing::error!("{error}");
        daemon.happened(Event::PolicyProblem { error }).await;
    }
    daemon.look_for_programs().await;
    daemon.ask_kernel().await;
    let mut policy_watch = PolicyWatch::new(&daemon.config);
    if let Err(error) = &policy_watch {
        tracing::warn!("edits of the policy are not noticed, use `auto-ext reload`: {error}");
    }
    daemon.bus = Bus::serve(
        options.bus,
        &daemon.sched_ext,
        &daemon.children,
        daemon.thoughts(),
        requests,
    )
    .await
    .map_err(anyhow::Error::new)?;
    let mut changes = surroundings::listen(daemon.bus.as_ref().map(Bus::connection));
    daemon.look_at_power().await;
    daemon.follow_processes();
    daemon.serve_metrics();
    tell_systemd(NotifyState::Ready);
    let Thoughts { mode, reason, .. } = daemon.thoughts();
    tracing::info!(mode, reason, "running, mode {mode}: {reason}");
    let current = daemon.current.0.clone();
    let version = format!("version {}", env!("CARGO_PKG_VERSION"));
    daemon.record(Kind::Started, &current, &current, &version, "");

    let mut alive = every(ALIVE_EVERY);
    let mut windows = every(daemon.policy.window);
    let mut textfiles = every(daemon.policy.metrics.every);
    let mut program_looks = every(LOOK_FOR_PROGRAMS_EVERY);
    loop {
        let kernel_told = async {
            match &uevents {
                Ok(uevents) => uevents.next().await,
                Err(_) => std::future::pending().await,
            }
        };
        let processes_changed = async {
            match &mut daemon.processes {
                Some(processes) => processes.changed().await,
                None => std::future::pending().await,
            }
        };
        let policy_changed = async {
            match &mut policy_watch {
                Ok(watch) => watch.changed().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => drop(daemon.reload().await),
            _ = alive.tick() => tell_systemd(NotifyState::Watchdog),
            outcome = finished(&mut daemon.switching) => daemon.switch_ended(outcome).await,
            how = ended(&mut daemon.running) => daemon.scheduler_exited(how).await,
            subsystem = kernel_told => match subsystem {
                Subsystem::SchedExt => daemon.ask_kernel().await,
                Subsystem::PowerSupply => daemon.look_at_power().await,
            },
            events = processes_changed => daemon.happened(Event::Processes(events)).await,
            Some(change) = changes.recv() => daemon.surroundings_changed(change).await,
            Some(asked) = asked.recv() => daemon.serve(asked).await,
            // What is wrong with it has been said and recorded by then.
            () = policy_changed => drop(daemon.reload().await),
            _ = windows.tick() => daemon.window().await,
            _ = textfiles.tick() => daemon.write_textfile(),
            _ = program_looks.tick() => {
                daemon.look_for_programs().await;
                // The kernel's word on it may have been lost.
                daemon.look_at_power().await;
            }
        }
        if windows.period() != daemon.policy.window {
            windows = every(daemon.policy.window);
        }
        if textfiles.period() != daemon.policy.metrics.every {
            textfiles = every(daemon.policy.metrics.every);
        }
    }
    tell_systemd(NotifyState::Stopping);
    daemon.stop().await;
    tracing::info!("stopped");
    Ok(())
}

struct Daemon {
    config: PathBuf,
    policy: Policy,
    state: State,
    started: Instant,
    sched_ext: SchedExt,
    power_supplies: PowerSupplies,
    children: Children,
    cgroups: Cgroups,
    profiler: Profiler,
    processes: Option<Processes>,
    last_sample: Sample,
    /// The scheduler of ours, but during a switch, which then has it.
    running: Option<SchedulerProcess>,
    switching: Option<Switching>,
    holders: Holders,
    history: History,
    kept: Kept,
    export: Export,
    bus: Option<Bus>,
    /// D-Bus did not take what was last to be shown.
    bus_trouble: bool,
    /// What the kernel ran when it was last looked at (its name and number), and since when.
    current: (String, Option<u64>),
    since: u64,
    switches: u64,
}

impl Daemon {
    fn new(
        config: PathBuf,
        policy: Policy,
        observe: bool,
        profiler: Profiler,
        export: Export,
    ) -> Self {
        let sched_ext = SchedExt::below("/sys".as_ref());
        Self {
            config,
            state: State::new(&policy, observe),
            policy,
            started: Instant::now(),
            current: (sched_ext.read().scheduler(), sched_ext.enable_seq()),
            sched_ext,
            power_supplies: PowerSupplies::below("/sys".as_ref()),
            children: Children::default(),
            cgroups: Cgroups::take_over(),
            last_sample: profiler.sample(),
            profiler,
            processes: None,
            running: None,
            switching: None,
            holders: Holders::default(),
            history: History::open(&directory("STATE_DIRECTORY", STATE_DIRECTORY)),
            kept: Kept::open(&directory("RUNTIME_DIRECTORY", RUNTIME_DIRECTORY)),
            export,
            bus: None,
            bus_trouble: false,
            since: now_us(),
            switches: 0,
        }
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    fn thoughts(&self) -> Thoughts {
        Thoughts::of(&self.state, self.now(), now_us(), self.since, self.switches)
    }

    /// Has an event decided, carries out what comes of it, and shows the result.
    async fn happened(&mut self, event: Event) {
        let class = self.state.class().to_owned();
        let (state, actions) = decide(&self.policy, &self.state, event, self.now());
        self.state = state;
        if self.state.class() != class {
            tracing::debug!(
                class = self.state.class(),
                reason = self.state.reason(),
                "new class"
            );
        }
        for action in actions {
            match action {
                Action::Switch {
                    to,
                    reason,
                    replace_foreign,
                } => self.begin_switch(to, reason, replace_foreign),
                Action::Cancel => self.cancel_switch(),
            }
        }
        self.show().await;
    }

    /// Shows what the kernel runs and what is thought of it.
    async fn show(&mut self) {
        let current = self.read_current();
        let thoughts = self.thoughts();
        if let Some(bus) = &mut self.bus {
            let shown = timeout(BUS_WITHIN, bus.show(current, thoughts)).await;
            self.note_bus_trouble(shown);
        }
    }

    /// Asks the kernel, and takes note of when what it says changed.
    fn read_current(&mut self) -> Current {
        let current = Current::read(&self.sched_ext, &self.children);
        let which = (current.current_scheduler.clone(), current.enable_seq);
        if which != self.current {
            self.current = which;
            self.since = now_us();
        }
        current
    }

    /// Says once that D-Bus has trouble, not with every window.
    fn note_bus_trouble(&mut self, told: Result<zbus::Result<()>, Elapsed>) {
        let trouble = match told {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!(
                "no answer within {}",
                humantime::format_duration(BUS_WITHIN)
            )),
        };
        if let Some(error) = &trouble
            && !self.bus_trouble
        {
            tracing::warn!("D-Bus does not take what is to be shown: {error}");
        }
        self.bus_trouble = trouble.is_some();
    }

    async fn window(&mut self) {
        let sample = self.profiler.sample();
        let signals = Signals::between(&self.last_sample, &sample, self.profiler.machine());
        let dt = Duration::from_nanos(sample.at_ns.saturating_sub(self.last_sample.at_ns));
        self.last_sample = sample;
        let counters = self.kept.counters();
        counters.passed(dt, &self.current.0, self.state.class());
        self.ask_kernel().await;
        if let Some(signals) = signals {
            self.happened(Event::Window { dt, signals }).await;
        }
    }

    async fn ask_kernel(&mut self) {
        let current = Current::read(&self.sched_ext, &self.children);
        let ours = current.is_ours();
        if *self.state.kernel() == current.state && self.state.ours() == ours {
            return;
        }
        let before = self.current.0.clone();
        self.happened(Event::Kernel {
            state: current.state,
            ours,
        })
        .await;
        // The switches of our own are announced with their gap; this is somebody else's.
        if self.switching.is_none() && self.running.is_none() && self.current.0 != before {
            let now = self.current.0.clone();
            self.record(Kind::Foreign, &before, &now, "not by auto-ext", "");
            self.announce(&before, &now, "not by auto-ext", 0).await;
        }
    }

    /// Asks the kernel and has its answer decided on, changed or not; returns what runs.
    async fn take_in_kernel(&mut self) -> String {
        let current = Current::read(&self.sched_ext, &self.children);
        let ours = current.is_ours();
        let state = current.state;
        self.happened(Event::Kernel { state, ours }).await;
        current.current_scheduler
    }

    /// Follows processes if the policy asks about them, from the beginning: all there are come as
    /// the first event.
    fn follow_processes(&mut self) {
        // What is not asked about costs nothing.
        self.processes = None;
        if !self.policy.asks_about_processes() {
            return;
        }
        match Processes::attach() {
            Ok(processes) => self.processes = Some(processes),
            Err(error) => {
                tracing::warn!("processes are not known, rules about them do not match: {error}");
            }
        }
    }

    async fn look_at_power(&mut self) {
        let power = self.power_supplies.read();
        if self.state.power() != power {
            self.happened(Event::Power(power)).await;
        }
    }

    async fn surroundings_changed(&mut self, change: Change) {
        match change {
            Change::Profile(profile) if self.state.profile() != profile => {
                self.happened(Event::Profile(profile)).await;
            }
            Change::Profile(_) => {}
            Change::Sleep { begins: true } => self.happened(Event::FallsAsleep).await,
            Change::Sleep { begins: false } => {
                // What was counted while the machine slept belongs to no window.
                self.last_sample = self.profiler.sample();
                self.happened(Event::WakesUp).await;
            }
        }
    }

    async fn look_for_programs(&mut self) {
        let installed = program::installed(&self.policy);
        if *self.state.installed() != installed {
            self.happened(Event::Installed(installed)).await;
        }
    }

    async fn announce(&mut self, from: &str, to: &str, reason: &str, gap_us: u64) {
        self.switches += 1;
        self.show().await;
        if let Some(bus) = &mut self.bus {
            let told = timeout(BUS_WITHIN, bus.switched(from, to, reason, gap_us)).await;
            self.note_bus_trouble(told);
        }
    }

    /// Leaves the machine with the kernel's own scheduler, whatever is on its way.
    async fn stop(mut self) {
        if let Some(switching) = self.switching.take() {
            self.running = switching.end().await;
        }
        if let Some(mut running) = self.running.take()
            && let Err(error) = switch::stop(&self.sched_ext, &mut running).await
        {
            let scheduler = &running.scheduler().name;
            tracing::error!(scheduler, "{scheduler} cannot be stopped: {error}");
        }
        let (before, now) = (self.current.0.clone(), self.read_current());
        let now = now.current_scheduler;
        self.record(Kind::Stopped, &before, &now, "", "");
        self.export.end();
        if let Some(bus) = self.bus.take() {
            bus.leave().await;
        }
        self.history.close();
    }
}

fn tell_systemd(state: NotifyState<'_>) {
    // Not started by systemd, or it does not listen: there is nobody to tell.
    let _ = sd_notify::notify(false, &[state]);
}

/// Where the daemon keeps what outlives it: the first directory that systemd gives by `variable`,
/// else where systemd would have it.
fn directory(variable: &str, otherwise: &str) -> PathBuf {
    let given = std::env::var_os(variable);
    let given = given.and_then(|given| std::env::split_paths(&given).next());
    given.unwrap_or_else(|| otherwise.into())
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    // After a pause one window is as good as the ones that were missed.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// CLOCK_REALTIME in microseconds.
pub(crate) fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| {
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
        })
}
