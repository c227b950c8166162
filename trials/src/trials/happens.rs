//! What happens, and what it changes at once. What follows from it is looked for in a step.

use std::sync::Arc;
use std::time::Duration;

use auto_ext_evidence::Plan;
use auto_ext_policy::Scheduler;

use super::state::{Consent, Deed, Trials};
use crate::comparison::Comparison;
use crate::exchange::Export;
use crate::guard::Alarm;
use crate::key::{Here, Key};
use crate::moment::Moment;
use crate::outcome::Reading;
use crate::pair::PairEnd;
use crate::quiet::Unquiet;
use crate::table::Table;
use crate::trial::Stage;

/// How long a consent lasts at most.
pub const MAX_CONSENT: Duration = Duration::from_hours(24 * 30);

impl Trials {
    /// What was learned and spent before. `epoch` is the time since 1970 at the moment zero.
    pub fn learned(&mut self, mut table: Table, epoch: Duration, now: Moment) {
        table.budget.as_of(epoch + now);
        self.table = Arc::new(table);
        self.epoch = Some(epoch);
    }

    /// On which machine this is. Another one, or other builds, end a trial.
    pub fn is_here(&mut self, here: Here, now: Moment) {
        if self.here.as_deref() != Some(&here) {
            self.drop_trial("the machine or a scheduler's program is another one", now);
            self.here = Some(Arc::new(here));
            if let Some(alike) = &mut self.alike {
                alike.since = now;
            }
        }
    }

    /// By what the coin is tossed.
    pub fn seed(&mut self, seed: u64) {
        self.coin = Some(Plan::new(seed, 1));
    }

    /// What somebody consents to; `None`: nothing any more.
    pub fn consent(&mut self, consent: Option<Consent>, now: Moment) {
        let latest = now + MAX_CONSENT;
        self.consent = consent.map(|consent| Consent {
            until: consent.until.min(latest),
            lifted_until: consent.lifted_until.min(latest),
        });
    }

    /// What is in the way, as far as the decisions cannot know it themselves.
    pub fn others_unquiet(&mut self, unquiet: Vec<Unquiet>) {
        self.others_unquiet = Some(unquiet);
    }

    /// A second was measured.
    pub fn read(&mut self, reading: &Arc<Reading>, now: Moment) {
        let Some(trial) = &mut self.trial else {
            return;
        };
        self.done = trial.turn.read(reading, now);
        let Some((second, last)) = trial.turn.second() else {
            return;
        };
        let Some(pair) = trial.candidate() else {
            return;
        };
        let primary = pair.yardstick.primary;
        let Some(reference) = &trial.reference else {
            return;
        };
        let alarm = trial.guard.look(reference, primary, &second, last);
        if let Some(alarm) = alarm {
            self.lose(&alarm, now);
        }
    }

    /// A scheduler failed. If it is the candidate of a trial, that has lost it.
    pub fn failed(&mut self, scheduler: &Scheduler, how: &str, now: Moment) {
        let trial = self.trial.as_ref();
        let is_candidate = trial
            .and_then(|trial| trial.candidate())
            .is_some_and(|pair| pair.scheduler.is_same_as(scheduler));
        if is_candidate {
            self.lose(&Alarm::Failed(how.to_owned()), now);
        }
    }

    /// Ends the trial that is on: something came that says nothing about its candidate.
    pub fn drop_trial(&mut self, why: &str, now: Moment) {
        let Some(trial) = &self.trial else {
            return;
        };
        if let Stage::Pair(pair) = &trial.stage {
            let at = self.at(now);
            let record = Arc::make_mut(&mut self.table).record(&pair.key, at);
            record.drop_turn(pair.is_candidates_turn(), at);
            let judged = record.judge(&pair.yardstick, pair.challengers);
            self.keep_pair(PairEnd::Dropped(why.to_owned()), judged, None, now);
        }
        self.end_trial(why, None, now);
    }

    /// Keeps what a comparison found about `key`. What trials found of it before counts no more, and a trial that is on ends.
    pub fn compared(&mut self, key: &Key, comparison: &Comparison, now: Moment) {
        self.drop_trial("a comparison found what was to be found", now);
        let at = self.at(now);
        let kept = Arc::make_mut(&mut self.table).compare(key, comparison, at);
        if kept.is_ok() {
            self.deeds.push(Deed::KeepTable);
        }
    }

    /// Takes in what others found, as far as it is about machines like this one.
    pub fn imported(&mut self, export: Export) {
        let Some(here) = self.here.clone() else {
            return;
        };
        Arc::make_mut(&mut self.table).import(export, &here);
        self.deeds.push(Deed::KeepTable);
    }

    /// Forgets what was found for a class, or everything.
    pub fn forget(&mut self, class: Option<&str>, now: Moment) {
        self.drop_trial("what was found is forgotten", now);
        Arc::make_mut(&mut self.table).forget(class);
        self.deeds.push(Deed::KeepTable);
    }

    /// The machine slept: what is to last for a time in which it is awake begins anew.
    pub fn slept(&mut self, now: Moment) {
        self.drop_trial("the machine slept", now);
        self.quiet_since = None;
    }
}
