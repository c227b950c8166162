//! The loop of the daemon: from its start, by what the outside says, to its end.
//!
//! What each event does is the daemon's own (`daemon.rs`).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use auto_ext_profiler::Profiler;
use nix::sys::prctl::set_thp_disable;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::export::Export;
use super::line::{Change as LineChange, Line};
use super::switching::{ended, finished};
use super::{Asked, Daemon};
use crate::boots;
use crate::bus::{BusKind, Place};
use crate::commands::levels;
use crate::core::Event;
use crate::history::Kind;
use crate::policy::Policy;
use crate::policy_watch::PolicyWatch;
use crate::report::Thoughts;
use crate::request::Requests;
use crate::surroundings;
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

/// Runs until SIGTERM or SIGINT; SIGHUP has the policy read again.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
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
    daemon.look_at_the_past(options.observe).await;
    daemon.look_for_programs().await;
    let mut policy_watch = PolicyWatch::new(&daemon.config);
    if let Err(error) = &policy_watch {
        tracing::warn!("edits of the policy are not noticed, use `auto-ext reload`: {error}");
    }
    let place = Place {
        kind: options.bus,
        sched_ext: daemon.sched_ext.clone(),
        children: daemon.children.clone(),
        requests,
    };
    let line = Line::tie(place, daemon.thoughts())
        .await
        .map_err(anyhow::Error::new)?;
    let mut changes = surroundings::listen(line.connection());
    daemon.line = Some(line);
    // Not before: another auto-ext may run, whose scheduler would be taken for somebody else's.
    daemon.ask_kernel(Asked::Told).await;
    daemon.look_at_power().await;
    daemon.follow_processes();
    daemon.serve_metrics();
    tell_systemd(NotifyState::Ready);
    let Thoughts { mode, reason, .. } = daemon.thoughts();
    tracing::info!(mode, reason, "running, mode {mode}: {reason}");
    let current = daemon.current.0.clone();
    let version = format!("version {}", env!("CARGO_PKG_VERSION"));
    daemon.record(Kind::Started, &current, &current, &version, "");

    let mut alive = every(alive_every());
    let window_timer = WindowTimer::new()?;
    let mut window = daemon.policy.window;
    let mut textfiles = every(daemon.policy.metrics.every);
    let mut program_looks = every(LOOK_FOR_PROGRAMS_EVERY);
    let good = sleep(boots::GOOD_AFTER);
    tokio::pin!(good);
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
            _ = hangup.recv() => {
                daemon.happened(Event::Trusted).await;
                drop(daemon.reload().await);
            }
            _ = alive.tick() => tell_systemd(NotifyState::Watchdog),
            outcome = finished(&mut daemon.switching) => daemon.switch_ended(outcome).await,
            end = ended(&mut daemon.running) => daemon.scheduler_exited(end).await,
            subsystem = kernel_told => match subsystem {
                Subsystem::SchedExt => daemon.ask_kernel(Asked::Told).await,
                Subsystem::PowerSupply => daemon.look_at_power().await,
            },
            events = processes_changed => daemon.happened(Event::Processes(events)).await,
            Some(change) = changes.recv() => daemon.surroundings_changed(change).await,
            Some(asked) = asked.recv() => daemon.serve(asked).await,
            change = line_changed(&mut daemon.line) => {
                daemon.line_changed(change).await;
                if let Some(line) = &daemon.line && change == LineChange::Tied {
                    changes = surroundings::listen(line.connection());
                }
            }
            // What is wrong with it has been said and recorded by then.
            () = policy_changed => drop(daemon.reload().await),
            () = &mut good, if !good.is_elapsed() => drop(tokio::spawn(daemon.boot_is_good())),
            () = window_timer.ended() => {
                let begun = Instant::now();
                daemon.window().await;
                let next = if daemon.state.levels_may_change() {
                    window / 2
                } else {
                    window
                };
                window_timer.end_after(next.saturating_sub(begun.elapsed()))?;
            }
            _ = textfiles.tick() => {
                daemon.serve_metrics();
                daemon.write_textfile();
            }
            _ = program_looks.tick() => {
                daemon.look_for_programs().await;
                // The kernel's word on it may have been lost.
                daemon.look_at_power().await;
                daemon.look_at_appetite();
            }
        }
        if window != daemon.policy.window {
            window = daemon.policy.window;
            window_timer.end_after(window)?;
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

async fn line_changed(line: &mut Option<Line>) -> LineChange {
    match line {
        Some(line) => line.changed().await,
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
