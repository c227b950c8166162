//! The daemon's metrics and its page for browsers, gathered, and written and served where the policy says.

use auto_ext_core::signals_now;
use auto_ext_service::clock::{cpu_time, now_us};

use super::state::Daemon;
use crate::api::status::Current;
use crate::metrics;
use crate::metrics::Snapshot;
use crate::page;

impl Daemon {
    /// The metrics of this moment as OpenMetrics text.
    pub(super) fn metrics(&mut self) -> String {
        let status = self.status();
        let found = self.state.trials().found(self.now());
        metrics::open_metrics(Snapshot {
            current: Current::read(&self.sched_ext, &self.registry),
            status,
            signals: signals_now(&self.state),
            counters: self.counters.snapshot(),
            found,
            policy_is_valid: !self.state.has_policy_problem(),
            started: self.export.started(),
            cpu_seconds: cpu_time().as_secs_f64(),
        })
    }

    /// The page of this moment as HTML.
    pub(super) fn page(&self) -> String {
        page::page(&page::Model {
            now: now_us(),
            current: Current::read(&self.sched_ext, &self.registry),
            status: self.status(),
            signals: signals_now(&self.state),
            history: self.history.last(page::ENTRIES).cloned().collect(),
        })
    }

    /// Serves metrics and the page where the policy says, and no longer where it said so before.
    pub(super) fn serve_metrics(&mut self) {
        if !self.beside {
            self.export.serve(self.policy.metrics.listen.as_ref());
        }
    }

    /// Writes the textfile that the policy wants, without waiting for the disk.
    pub(super) fn write_textfile(&mut self) {
        let wanted = self.policy.metrics.textfile.as_ref();
        if !self.beside && self.export.prepare_textfile(wanted) {
            let text = metrics::prometheus(&self.metrics());
            self.export.write_textfile(text);
        }
    }
}
