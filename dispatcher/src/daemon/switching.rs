//! A switch on its way: a task of its own, which can be cancelled.

use auto_ext_policy::Scheduler;
use auto_ext_scx::process::SchedulerProcess;
use auto_ext_scx::switch::{Outcome, Switch};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A switch on its way.
pub(super) struct Switching {
    task: JoinHandle<Outcome>,
    cancel: watch::Sender<bool>,
    /// The scheduler of ours that ran before, and what the kernel called it if it was enabled.
    pub(super) old: Option<(Scheduler, Option<String>)>,
    /// What the kernel ran before, as D-Bus' `CurrentScheduler`.
    pub(super) from: String,
    pub(super) reason: String,
    /// It is a turn of a trial.
    pub(super) trial: bool,
}

impl Switching {
    /// Begins a switch from the process `running`, if there is one.
    pub(super) fn begin(
        switch: Switch,
        running: Option<SchedulerProcess>,
        old: Option<(Scheduler, Option<String>)>,
        from: String,
        reason: String,
        trial: bool,
    ) -> Self {
        let (cancel, cancelled) = watch::channel(false);
        Self {
            task: tokio::spawn(switch.make(running, cancelled)),
            cancel,
            old,
            from,
            reason,
            trial,
        }
    }

    /// Cancels the switch if that is still possible. It ends all the same, as [`finished`] says.
    pub(super) fn cancel(&self) {
        // It may have ended a moment ago; then there is nothing to cancel.
        let _ = self.cancel.send(true);
    }

    /// Cancels the switch if that is still possible, and waits for its end. Returns the process that then runs.
    pub(super) async fn end(self) -> Option<SchedulerProcess> {
        self.cancel();
        let outcome = self.task.await;
        outcome
            .expect("the switch neither panics nor is aborted")
            .running
    }
}

/// Waits for the end of the switch that is on its way; for ever if there is none.
pub(super) async fn finished(switching: &mut Option<Switching>) -> (Switching, Outcome) {
    let Some(current) = switching else {
        return std::future::pending().await;
    };
    let outcome = (&mut current.task)
        .await
        .expect("the switch neither panics nor is aborted");
    let switching = switching.take().expect("it was there a moment ago");
    (switching, outcome)
}
