//! What the kernel runs: read, decided about when it changes, and announced.

use auto_ext_core::Event;
use auto_ext_policy::Scheduler;
use auto_ext_service::clock::now_us;

use super::state::Daemon;
use crate::api::status::Current;
use crate::persistence::history::Kind;

/// Why the kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It reported a change.
    Reported,
    /// A window has ended.
    Window,
}

impl Daemon {
    /// Reads what the kernel runs, and records when that changed.
    pub(super) fn read_current(&mut self) -> Current {
        let current = Current::read(&self.sched_ext, &self.registry);
        self.observed.read(&current, now_us());
        current
    }

    /// Reads what the kernel runs, has the core decide about a change, and announces it if it is not of our making.
    pub(super) async fn ask_kernel(&mut self, occasion: Occasion) {
        let current = Current::read(&self.sched_ext, &self.registry);
        let ours = current.is_ours();
        let known = *self.state.kernel() == current.state && self.state.ours() == ours;
        if known && self.observed.is_announced(&current) {
            return;
        }
        // Switches of our own are announced when they have ended, with their gap.
        let switching = self.switching.is_some();
        if !known {
            let state = current.state.clone();
            self.apply_event(Event::Kernel { state, ours }).await;
        }
        if let Some(scheduler) = self.running_detached()
            && let Some(end) = self.kernel_log.ejection()
        {
            self.scheduler_ejected(scheduler, end).await;
        }
        if switching || self.observed.is_announced(&current) {
            return;
        }
        let announced = self.observed.announced();
        let (from, to) = (&announced.current_scheduler, &current.current_scheduler);
        let reason = match (announced.is_ours(), ours) {
            // The end of its process, which mostly follows in a moment, gives a better reason.
            (true, false) if occasion == Occasion::Reported && self.running.is_some() => return,
            (true, false) if current.current_owner == "none" => {
                format!("the kernel does not run {from} any more")
            }
            (_, true) => format!("{to} loaded itself again"),
            (_, false) => "not by auto-ext".to_owned(),
        };
        tracing::info!(scheduler = to, from, "{from} -> {to}: {reason}");
        let somebody = !ours && (!announced.is_ours() || current.current_owner == "foreign");
        if somebody {
            let (from, to) = (from.clone(), to.clone());
            self.record(Kind::Foreign, &from, &to, &reason, "");
        }
        let stays = somebody || self.running.is_none();
        self.announce(current, &reason, 0, stays).await;
    }

    /// The scheduler of ours if it is detached: its process lives, but the kernel does not run it.
    pub(super) fn running_detached(&self) -> Option<Scheduler> {
        let detached = self.switching.is_none() && !self.state.ours();
        let process = self.running.as_ref().filter(|_| detached)?;
        Some(process.scheduler().clone())
    }

    /// Reads what the kernel runs and has the core decide about it, changed or not; returns it.
    pub(super) async fn apply_kernel(&mut self) -> Current {
        let current = Current::read(&self.sched_ext, &self.registry);
        let ours = current.is_ours();
        let state = current.state.clone();
        self.apply_event(Event::Kernel { state, ours }).await;
        current
    }

    /// Announces that the kernel runs `current`, which is not what was announced last, for `reason`. Whether it `counts`
    /// as a switch: a scheduler that loads itself again is not there to stay at once.
    pub(super) async fn announce(
        &mut self,
        current: Current,
        reason: &str,
        gap_us: u64,
        counts: bool,
    ) {
        let from = self.observed.announce(current, counts);
        self.show().await;
        if let Some(bus) = &self.bus {
            let to = &self.observed.announced().current_scheduler;
            bus.switched(&from, to, reason, gap_us);
        }
    }

    /// Announces what the kernel runs if that was not announced last; it is there to stay.
    pub(super) async fn announce_change(&mut self, reason: &str) {
        let current = Current::read(&self.sched_ext, &self.registry);
        if !self.observed.is_announced(&current) {
            return self.announce(current, reason, 0, true).await;
        }
        self.observed.count_announced();
        self.show().await;
    }
}
