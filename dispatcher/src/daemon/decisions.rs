//! From an event to the core's decision, and from its actions to switches. The result is shown on the bus.

use auto_ext_core::{Action, Event, KernelState};
use auto_ext_policy::Candidate;
use auto_ext_scx::switch;
use auto_ext_service::clock::now_us;

use super::state::Daemon;
use super::switching::Switching;

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
        let (state, actions) = auto_ext_core::decide(&self.policy, &self.state, event, self.now());
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
