//! Carries out what was decided, and what callers ask.

use auto_ext_service::clock::now_us;
use auto_ext_service::cpu_list::List;
use serde_json::{Value, json};

use crate::affinity::{LedgerError, Restored};
use crate::core::{Action, Event, Explanation, Member, Moment, Outcome};
use crate::history::Entry;

use super::metrics::metrics;
use super::placing::NotPlaced;
use super::request::Request;
use super::state::Daemon;
use super::status::word;

impl Daemon {
    fn members(&self) -> impl Iterator<Item = &Member> {
        let situation = self.state.situation();
        situation
            .into_iter()
            .flat_map(|situation| &situation.members)
    }

    /// Carries out an action; returns what happened by it, if that is to be decided about.
    pub(super) fn act(&mut self, action: Action, now: Moment) -> Option<Event> {
        match action {
            Action::Pin(candidate) => match self.placing.place(&candidate, &self.groups) {
                Ok(()) => {
                    tracing::info!("{} threads were given cores", self.placing.threads());
                    None
                }
                Err(NotPlaced::Group(unplaced)) => Some(self.dropped_for(unplaced, now)),
                Err(NotPlaced::LedgerInUse(why)) => {
                    tracing::info!("nothing is placed: {why}");
                    Some(Event::LedgerInUse(true))
                }
            },
            Action::Restore => self.restore(),
            Action::Count(true) => {
                let members: Vec<_> = self.members().map(|member| member.key.clone()).collect();
                self.counting.begin(members, &self.groups, now);
                None
            }
            Action::Count(false) => {
                self.counting.end(now);
                None
            }
            Action::Record(entry) => {
                self.record(&Entry {
                    at_us: now_us(),
                    jobs: entry.jobs,
                    outcome: entry.outcome,
                });
                None
            }
            Action::Remember(sets) => {
                if let Err(error) = self.store.keep_fruitless(&sets) {
                    tracing::warn!("what was tried in vain is forgotten at the end: {error}");
                }
                None
            }
        }
    }

    /// Lets all run everywhere again that was placed, and finds out whether another auto-ext-smt has the ledger, who undoes what it
    /// placed; returns that if it is new.
    pub(super) fn restore(&mut self) -> Option<Event> {
        let restored = self.placing.restore();
        let in_use = matches!(restored, Err(LedgerError::InUse(_)));
        match restored {
            Ok(None) | Err(LedgerError::InUse(_)) => {}
            Ok(Some(restored)) => {
                self.totals.restores += 1;
                say(&restored);
            }
            Err(error) => tracing::error!("what was placed cannot be undone: {error}"),
        }
        (in_use != self.state.is_ledger_in_use()).then_some(Event::LedgerInUse(in_use))
    }

    /// The same, and decides about it.
    pub(super) fn restore_and_decide(&mut self, now: Moment) {
        if let Some(event) = self.restore() {
            self.event(event, now);
        }
    }

    fn record(&mut self, entry: &Entry) {
        match entry.outcome {
            Outcome::Adopted { .. } => self.totals.adopted += 1,
            Outcome::Fruitless { .. } => self.totals.fruitless += 1,
            Outcome::Aborted { .. } => self.totals.aborted += 1,
            Outcome::Restored { .. } => {}
        }
        tracing::info!("{}", entry.sentence());
        if let Err(error) = self.history.add(entry) {
            tracing::warn!("the history is not written: {error}");
        }
    }

    /// Does what a caller asks, and says what came of it.
    pub(super) fn answer(&mut self, request: Request, now: Moment) -> String {
        match request {
            Request::Pause(lasts) => self.event(Event::Paused(lasts), now),
            Request::Resume => self.event(Event::Resumed, now),
            Request::Restore => {
                self.event(Event::RestoreAsked, now);
                // What another daemon has left too.
                self.restore_and_decide(now);
            }
            Request::Trial => self.event(Event::TrialAsked, now),
            Request::Plan => return self.plan(now).to_string(),
            Request::Metrics => {
                return metrics(&self.status(now), &self.totals, self.placing.threads());
            }
        }
        let Explanation { mode, reason } = self.explanation(now);
        format!("{}: {reason}", word(mode))
    }

    /// What would be tried now, the best first, and what keeps it from being tried.
    fn plan(&self, now: Moment) -> Value {
        let Explanation { mode, reason } = self.explanation(now);
        let jobs: Vec<&str> = self.members().map(|member| member.job.as_str()).collect();
        let candidates = self.proposals(now);
        let candidates = candidates.iter().map(|candidate| {
            let masks = candidate.masks.iter().zip(&jobs);
            let groups: Vec<Value> = masks
                .map(|((key, cpus), job)| {
                    json!({"job": job, "group": key.to_string(), "cpus": List(cpus).to_string()})
                })
                .collect();
            json!({"predicted": candidate.predicted, "groups": groups})
        });
        let candidates: Vec<Value> = candidates.collect();
        json!({"mode": word(mode), "reason": reason, "candidates": candidates})
    }
}

fn say(restored: &Restored) {
    let count = restored.restored.len();
    if count > 0 {
        tracing::info!("{count} threads may run everywhere again");
    }
    for (tid, error) in restored.failed.iter().take(1) {
        let all = restored.failed.len();
        tracing::error!("{all} threads stay where they were placed, such as {tid}: {error}");
    }
    for pid in &restored.unclear {
        tracing::warn!("process {pid} may run only where a group was placed, and belongs to none");
    }
}
