//! What else happens on the machine, turned into events for the core: processes, power, sleep, programs that are installed
//! or replaced, and what is known from earlier boots.

use std::time::Instant;

use auto_ext_core::Event;
use auto_ext_scx::core_scheduling;
use auto_ext_scx::process::executable;

use super::bus_connection::BusEvent;
use super::state::{Daemon, state_directory};
use crate::persistence::boot_guard;
use crate::persistence::boot_guard::Boots;
use crate::sources::Change;
use crate::sources::processes::Processes;

impl Daemon {
    /// Follows processes if the policy asks about them; the first event has all there are.
    pub(super) fn follow_processes(&mut self) {
        match &mut self.processes {
            // They are followed only for rules that need them.
            _ if !self.policy.asks_about_processes() => self.processes = None,
            Some(processes) => processes.read_all_again(),
            None => self.processes = Some(Processes::follow()),
        }
        if let Some(processes) = &mut self.processes {
            processes.tell_ancestors(self.policy.asks_about_ancestors());
        }
    }

    /// Reads where the power comes from.
    pub(super) async fn read_power(&mut self) {
        let power = self.power_supplies.read();
        if self.state.power() != power {
            self.apply_event(Event::Power(power)).await;
        }
    }

    /// Handles a change of the power profile, or of whether the machine sleeps.
    pub(super) async fn source_changed(&mut self, change: Change) {
        match change {
            Change::Profile(profile) => {
                if self.state.profile() != profile {
                    self.apply_event(Event::Profile(profile)).await;
                }
                self.knows_profile(true).await;
            }
            Change::Sleep { begins } if begins == self.state.is_asleep() => {}
            Change::Sleep { begins: true } => self.apply_event(Event::FallsAsleep).await,
            Change::Inhibited(who) => self.inhibited(who).await,
            Change::Sleep { begins: false } => {
                // What was counted while the machine slept belongs to no window.
                self.windows.begin_again(self.profiler.sample());
                self.apply_event(Event::WakesUp).await;
            }
        }
    }

    /// Handles an event of the bus.
    pub(super) async fn apply_bus_event(&mut self, event: BusEvent) {
        match event {
            // All callers have left with it; on the next bus they have other names.
            BusEvent::Disconnected(answer) => {
                for cookie in self.holders.clear() {
                    self.apply_event(Event::Released { cookie }).await;
                }
                self.inhibited(None).await;
                self.knows_profile(false).await;
                // The connection may have ended.
                let _ = answer.send(());
            }
            BusEvent::Source(change) => self.source_changed(change).await,
        }
    }

    /// Ends a scheduler that spins.
    pub(super) fn check_for_spinning(&mut self) {
        let is_active = self.state.ours();
        if let Some(running) = &mut self.running {
            running.kill_if_it_spins(is_active, Instant::now());
        }
    }

    /// Looks for core scheduling, beside which nothing is loaded.
    pub(super) async fn look_for_core_scheduling(&mut self) {
        let found = core_scheduling::look();
        if *self.state.core_scheduling() != found {
            tracing::info!("{found}");
            self.apply_event(Event::CoreScheduling(found)).await;
        }
    }

    /// Finds out which schedulers are installed, and which programs were replaced.
    pub(super) async fn find_programs(&mut self) {
        for command in self.failure_store.replaced() {
            tracing::info!("{command} was replaced, its failures are forgotten");
            self.apply_event(Event::FailuresReset { command }).await;
        }
        self.find_supported();
        let installed = executable::installed(&self.policy);
        if *self.state.installed() != installed {
            self.apply_event(Event::Installed(installed)).await;
        }
    }

    /// Passes on to the core what failed before the daemon was started: schedulers, and boots.
    pub(super) async fn read_past(&mut self, observe: bool) {
        let failures = std::mem::take(&mut self.earlier_failures);
        self.apply_event(Event::Remembered(failures)).await;
        if observe {
            return;
        }
        match Boots::begin(&state_directory(), "/".as_ref()) {
            Ok(boots) => {
                let failed = boots.failed_before();
                self.boots = Some(boots);
                if failed >= boot_guard::TOO_MANY {
                    let why = format!(
                        "the machine went down {failed} times in a row soon after auto-ext was started"
                    );
                    self.apply_event(Event::SafeModeEntered { why }).await;
                }
            }
            Err(error) => tracing::warn!("failed boots are not noticed: {error}"),
        }
    }

    /// Records that this boot is a good one. Does not wait for the disk; the future that is returned does.
    pub(super) fn boot_is_good(&mut self) -> impl Future<Output = ()> + use<> {
        let schedulers_ran = !self.state.is_safe();
        let boots = self.boots.as_mut().map(|boots| {
            boots.good(schedulers_ran);
            boots.clone()
        });
        let written =
            tokio::task::spawn_blocking(move || boots.map_or(Ok(()), |boots| boots.write()));
        async {
            let written = written.await;
            if let Err(error) = written.expect("who writes neither panics nor is aborted") {
                tracing::warn!("this boot will count as a failed one: {error}");
            }
        }
    }
}
