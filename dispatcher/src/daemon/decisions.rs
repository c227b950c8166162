//! From an event to the core's decision, and from its actions to switches. The result is shown on the bus.

use std::fs::File;
use std::io;

use auto_ext_core::{Action, Event, KernelState};
use auto_ext_policy::Candidate;
use auto_ext_scx::{switch, sysfs};
use auto_ext_service::clock::{microseconds, now_us};

use super::state::Daemon;
use super::switching::Switching;
use crate::trace::recording::Recording;
use crate::trace::{Header, VERSION};

impl Daemon {
    /// Has the core decide about an event, carries out the actions, and shows the result.
    pub(super) async fn apply_event(&mut self, event: Event) {
        // Not all machines announce that they sleep, and other events of that time may come first.
        if let Some(slept) = self.moments.slept() {
            tracing::debug!("the machine slept for {slept:?}");
            self.decide(Event::Slept(slept));
        }
        self.decide(event);
        self.show().await;
    }

    /// Has the core decide about an event, and carries out the actions.
    fn decide(&mut self, event: Event) {
        let class = self.state.class().to_owned();
        let safe = self.state.is_safe();
        let now = self.now();
        if let Some(recording) = &mut self.recording
            && let Err(error) = recording.happens(&event, now)
        {
            tracing::warn!("the recording ends here: {error}");
            self.recording = None;
        }
        let (state, actions) = auto_ext_core::decide(&self.policy, &self.state, event, now);
        self.state = state;
        if self.state.class() != class {
            tracing::debug!(
                class = self.state.class(),
                reason = self.state.reason(),
                "new class"
            );
        }
        if self.state.is_safe() && !safe {
            tracing::error!("{}", self.state.reason());
        }
        if !self.beside {
            self.failure_store
                .keep(self.state.failures(), self.now(), now_us());
        }
        for action in actions {
            match action {
                Action::Switch {
                    to,
                    reason,
                    replace_foreign,
                    trial,
                } => self.begin_switch(to, reason, replace_foreign, trial),
                Action::Cancel => self.cancel_switch(),
                Action::Measure(on) => self.measure(on),
                Action::KeepPair(pair) => self.keep_pair(pair),
                Action::KeepLearned => self.keep_learned(),
                Action::TrialEnded(end) => self.trial_ended(*end),
            }
        }
    }

    /// Records all that is decided on from now on, which is the beginning, in this file.
    pub(super) fn begin_recording(&mut self, file: File) -> io::Result<()> {
        let header = Header {
            trace: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: sysfs::release(),
            cpus: self.profiler.sample().cpus,
            label: None,
            started_us: now_us().saturating_sub(microseconds(self.now())),
            window_ms: u64::try_from(self.policy.window.as_millis()).unwrap_or(u64::MAX),
            machine: *self.profiler.machine(),
            missing: self.profiler.missing().iter().cloned().collect(),
        };
        self.recording = Some(Recording::begin(file, &header)?);
        Ok(())
    }

    fn begin_switch(&mut self, to: Candidate, reason: String, replace_foreign: bool, trial: bool) {
        let from = self.sched_ext.read().scheduler();
        // As the core knows it: the kernel may have disabled it a moment ago.
        let ops = match self.state.kernel() {
            KernelState::Enabled { ops } if self.state.ours() => Some(ops.clone()),
            _ => None,
        };
        let old = self
            .running
            .as_ref()
            .map(|process| (process.scheduler().clone(), ops));
        let switch = switch::Switch {
            sched_ext: self.sched_ext.clone(),
            registry: self.registry.clone(),
            cgroups: self.cgroups.clone(),
            to,
            replace_foreign,
            load_within: switch::LOAD_WITHIN,
            disable_within: switch::DISABLE_WITHIN,
        };
        let begun = Switching::begin(switch, self.running.take(), old, from, reason, trial);
        self.switching = Some(begun);
    }

    fn cancel_switch(&self) {
        if let Some(switching) = &self.switching {
            switching.cancel();
        }
    }

    /// Shows on the bus what the kernel runs, and the status of the daemon.
    pub(super) async fn show(&mut self) {
        let current = self.read_current();
        let status = self.status();
        self.export.state_changed();
        if let Some(bus) = &self.bus {
            bus.show(current, status);
        }
    }
}
