//! Measures as the daemon does, and writes into a trace all that its decisions depend on. Decides nothing.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::time::Duration;

use auto_ext_policy::{Policy, Power, Profile};
use auto_ext_profiler::Profiler;
use auto_ext_scx::sysfs;
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_scx::uevent::{Subsystem, Uevents};
use auto_ext_service::clock::now_us;
use auto_ext_signals::{Machine, ProcessEvent, Sample, Windows};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use zbus::Connection;

use super::format::{Entry, Header, VERSION, rounded};
use super::writer::Writer;
use crate::sources;
use crate::sources::processes::Processes;
use crate::sources::{Change, PowerSupplies};

/// How often the power supplies are read though the kernel reports no change.
const READ_POWER_EVERY: Duration = Duration::from_secs(10);
/// How long the system bus may take to answer; then the trace is recorded without it.
const BUS_WITHIN: Duration = Duration::from_secs(1);

/// Where everything that is recorded comes from.
pub(crate) struct Sources {
    profiler: Profiler,
    processes: Option<Processes>,
    sched_ext: SchedExt,
    power_supplies: PowerSupplies,
    uevents: Option<Uevents>,
    changes: mpsc::Receiver<Change>,
}

impl Sources {
    /// These, and what else the machine has.
    pub(crate) async fn new(profiler: Profiler, processes: Option<Processes>) -> Self {
        let bus = timeout(BUS_WITHIN, Connection::system()).await;
        let bus = bus.ok().and_then(Result::ok);
        Self {
            profiler,
            processes,
            sched_ext: SchedExt::below("/sys".as_ref()),
            power_supplies: PowerSupplies::below("/sys".as_ref()),
            uevents: Uevents::open().ok(),
            changes: sources::listen(bus.as_ref()),
        }
    }
}

/// A trace that is being written.
pub(crate) struct Recorder {
    sources: Sources,
    writer: Writer<File>,
    window: Duration,
    began_ns: u64,
    windows: Windows,
    machine: Machine,
    /// What is to be in the next line.
    next: Entry,
    power: Option<Power>,
    profile: Option<Profile>,
    asleep: bool,
}

impl Recorder {
    /// Begins a trace in `output`.
    pub(crate) fn begin(
        mut sources: Sources,
        output: File,
        label: Option<String>,
    ) -> io::Result<Self> {
        let window = Policy::default().window;
        let first = sources.profiler.sample();
        let machine = *sources.profiler.machine();
        let missing = sources.profiler.missing().iter().cloned();
        let header = Header {
            trace: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: sysfs::release(),
            cpus: first.cpus,
            label,
            started_us: now_us(),
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            machine,
            missing: missing.collect(),
        };
        let mut recorder = Self {
            writer: Writer::new(output, &header)?,
            sources,
            window,
            began_ns: first.at_ns,
            windows: Windows::begin(first),
            machine,
            next: Entry::default(),
            power: None,
            profile: None,
            asleep: false,
        };
        recorder.read_power();
        Ok(recorder)
    }

    /// Records until the trace takes no more. Can be dropped and called again.
    pub(crate) async fn record(&mut self) -> io::Result<Infallible> {
        let mut windows = interval_at(Instant::now() + self.window, self.window);
        // As in the daemon, after a pause one window is as good as all that were missed.
        windows.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read_power = interval(READ_POWER_EVERY);
        loop {
            let Sources {
                processes,
                uevents,
                changes,
                ..
            } = &mut self.sources;
            tokio::select! {
                _ = windows.tick() => self.window()?,
                events = changed(processes) => self.next.processes.extend(events),
                Some(change) = changes.recv() => self.source_changed(&change)?,
                () = power_changed(uevents) => self.read_power(),
                _ = read_power.tick() => self.read_power(),
            }
        }
    }

    /// Ends the window that has begun, however short it is.
    pub(crate) fn window(&mut self) -> io::Result<()> {
        let sample = self.sources.profiler.sample();
        let machine = self.sources.profiler.machine();
        let (length, signals) = self.windows.end(sample, machine);
        let dt_us = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let Some(signals) = signals.filter(|_| dt_us > 0) else {
            return Ok(());
        };
        if *machine != self.machine {
            self.machine = *machine;
            self.next.machine = Some(self.machine);
        }
        self.next.dt_us = Some(dt_us);
        self.next.signals = Some(rounded(&signals));
        self.next.totals = Some(sample);
        self.next.scheduler = Some(self.sources.sched_ext.read().scheduler());
        self.write(&sample)
    }

    fn source_changed(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::Profile(profile) => {
                if *profile != self.profile {
                    self.profile = *profile;
                    self.next.profile = Some(*profile);
                }
                Ok(())
            }
            // No decision of a replay depends on it.
            Change::Inhibited(_) => Ok(()),
            Change::Sleep { begins } if *begins == self.asleep => Ok(()),
            &Change::Sleep { begins } => {
                self.asleep = begins;
                let sample = self.sources.profiler.sample();
                if !begins {
                    // What was counted while the machine slept belongs to no window.
                    self.windows.begin_again(sample);
                }
                self.next.asleep = Some(begins);
                self.write(&sample)
            }
        }
    }

    fn read_power(&mut self) {
        let power = self.sources.power_supplies.read();
        if power != self.power {
            self.power = power;
            self.next.power = Some(power);
        }
    }

    /// Writes what has been gathered, as of the time of `sample`.
    fn write(&mut self, sample: &Sample) -> io::Result<()> {
        self.next.at_us = self.at_us(sample);
        self.writer.write(std::mem::take(&mut self.next))
    }

    fn at_us(&self, sample: &Sample) -> u64 {
        sample.at_ns.saturating_sub(self.began_ns) / 1000
    }
}

async fn changed(processes: &mut Option<Processes>) -> Vec<ProcessEvent> {
    match processes {
        Some(processes) => processes.changed().await,
        None => std::future::pending().await,
    }
}

async fn power_changed(uevents: &Option<Uevents>) {
    let Some(uevents) = uevents else {
        return std::future::pending().await;
    };
    while uevents.next().await != Subsystem::PowerSupply {}
}
