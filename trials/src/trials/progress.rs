//! A trial on its way: its turns, its pairs, its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auto_ext_evidence::SETTLE;
use auto_ext_policy::TrialMode;

use super::state::{Deed, Situation, Trials, Work};
use super::step::exposure_of;
use crate::guard::{Alarm, Reference};
use crate::moment::Moment;
use crate::noise::{self, SHAM_PAIRS};
use crate::outcome::Measured;
use crate::pair::{PairEnd, PairRecord, says};
use crate::plan::challengers;
use crate::record::{Closed, Finding, Judged, Record, Says};
use crate::trial::{PAIRS_PER_TRIAL, PairTrial, Stage, TrialEnd};
use crate::turn::{Done, Spoilt};
use crate::yardstick::{Yardstick, with_sleepers};

/// For how long a load is left alone that is too noisy.
const TOO_NOISY_FOR: Duration = Duration::from_hours(24);

/// A pair of which both turns are finished.
pub(super) struct Finished<'a> {
    says: &'a Says,
    candidate: &'a Done,
    incumbent: &'a Done,
}

impl Trials {
    pub(super) fn go_on(&mut self, situation: &Situation<'_>, now: Moment) {
        let Some(trial) = &mut self.trial else {
            return;
        };
        if trial.profile != situation.profile {
            self.drop_trial("the power profile is another one", now);
            return;
        }
        let runs = trial.arm().is_same_as(situation.runs) && !situation.is_switching;
        if let Some(done) = self.done.take().filter(|_| runs) {
            self.turn_done(done, situation, now);
            return;
        }
        let why = match trial.turn.look(runs, now) {
            Ok(()) => return,
            Err(Spoilt::NotSwitched) => "what was to run did not in time",
            Err(Spoilt::Gone) => "what was to run does not any more",
            Err(Spoilt::NotMeasured) => "nothing could be measured",
        };
        self.drop_trial(why, now);
    }

    fn turn_done(&mut self, done: Done, situation: &Situation<'_>, now: Moment) {
        let Some(trial) = &mut self.trial else {
            return;
        };
        trial.turns += 1;
        if trial.candidate().is_none() {
            let newer = Reference::new(done.measured, &done.worst);
            trial.reference = Some(match trial.reference.take() {
                Some(reference) => reference.and(newer),
                None => newer,
            });
        }
        match &mut trial.stage {
            Stage::Incumbent => self.incumbent_done(&done.measured, situation, now),
            Stage::Pair(pair) if pair.first.is_none() => {
                let settle = pair.settle;
                pair.first = Some(done);
                trial.begin_turn(settle, now);
            }
            Stage::Pair(pair) => {
                let pair = pair.clone();
                self.pair_done(&pair, &done, situation, now);
            }
        }
    }

    /// A turn of the incumbent alone is finished: the load is known, and after some of them its noise.
    fn incumbent_done(&mut self, measured: &Measured, situation: &Situation<'_>, now: Moment) {
        let at = self.at(now);
        let Some(trial) = &mut self.trial else {
            return;
        };
        let before = trial.measured.replace(*measured);
        let (class, first) = (trial.class.clone(), before.is_none());
        let sleepers = with_sleepers(measured);
        let rule = situation.policy.rule(&class);
        let goal = rule.map(|rule| rule.goal(sleepers));
        let yardstick = goal.and_then(|goal| Yardstick::new(goal, measured));
        let key = self
            .knowledge(situation.power, situation.profile, now)
            .zip(goal)
            .and_then(|(knowledge, goal)| knowledge.key(&class, goal, None));
        let (Some(yardstick), Some(key)) = (yardstick, key) else {
            self.set_slot(&class, now, false, Some(sleepers));
            self.end_trial("nothing can be compared here", None, now);
            return;
        };
        self.set_slot(&class, now, false, Some(sleepers));
        let sham = before.and_then(|before| yardstick.ratio(measured, &before));
        if !first && sham.is_none() {
            self.drop_trial("nothing could be compared", now);
            return;
        }
        let record = Arc::make_mut(&mut self.table).record(&key, at);
        if let Some(sham) = sham {
            record.ratios.push(sham.get());
            record.pairs = record.pairs.saturating_add(1);
            record.last = at;
            self.deeds.push(Deed::KeepTable);
        }
        if record.ratios.len() < SHAM_PAIRS {
            if let Some(trial) = &mut self.trial {
                trial.begin_turn(SETTLE[0], now);
            }
            return;
        }
        let sigma = noise::sigma(record).unwrap_or_default();
        let challengers = rule.map_or(1, |rule| challengers(rule).len());
        if !noise::can_show(sigma, yardstick.delta, &yardstick.design(challengers)) {
            record.ratios.clear();
            record.benched_until = at + TOO_NOISY_FOR;
            let why = format!("too noisy here (sd {sigma:.2})");
            record.benched_for.clone_from(&why);
            self.deeds.push(Deed::KeepTable);
            self.end_trial(&why, None, now);
            return;
        }
        self.next_pair(&yardstick, situation, now);
    }

    /// Begins the next pair, or ends the trial.
    fn next_pair(&mut self, yardstick: &Yardstick, situation: &Situation<'_>, now: Moment) {
        let pair = self.plan_pair(yardstick, situation, now);
        match (pair, &mut self.trial) {
            (Some(pair), Some(trial)) => {
                let settle = pair.settle;
                trial.stage = Stage::Pair(Box::new(pair));
                trial.begin_turn(settle, now);
            }
            _ => self.end_trial("there is no further pair for now", None, now),
        }
    }

    fn plan_pair(
        &mut self,
        yardstick: &Yardstick,
        situation: &Situation<'_>,
        now: Moment,
    ) -> Option<PairTrial> {
        let at = self.at(now);
        let trial = self.trial.as_ref()?;
        let is_over = trial.pairs >= PAIRS_PER_TRIAL
            || situation.class != trial.class
            || situation.policy.trials.mode == TrialMode::Watch;
        let rule = situation.policy.rule(&trial.class).filter(|_| !is_over)?;
        let slot = self.slots.get(&trial.class).copied().unwrap_or_default();
        let knowledge = self.knowledge(situation.power, situation.profile, now)?;
        let goal = yardstick.goal;
        let is_recheck = self.work(rule, situation, slot, now)? == Work::Recheck;
        let scheduler = if is_recheck {
            let proven = knowledge.proven(rule, &[goal]);
            proven
                .into_iter()
                .find(|scheduler| (situation.can_run)(scheduler))?
        } else {
            knowledge.next(rule, goal, situation.can_run)?
        };
        let key = knowledge.key(&rule.class, goal, Some(scheduler))?;
        let settle = knowledge.table.get(&key).map_or(SETTLE[0], Record::settle);
        let begins = match &trial.stage {
            Stage::Pair(before) => before.key != key,
            Stage::Incumbent => true,
        };
        let exposure = exposure_of(settle, trial.arm, &trial.champion);
        let mut budget = self.table.budget.clone();
        budget.conceal(at);
        let exposure = (!is_recheck).then_some(exposure);
        if self
            .unaffordable(&budget, situation, exposure, now)
            .is_some()
        {
            return None;
        }
        let (scheduler, class_challengers) = (scheduler.clone(), challengers(rule).len());
        let order = self.coin.as_mut()?.next(|_| true)?;
        if order.challenger_first && self.exposed.take().is_some() {
            // It runs on, and that is another exposure.
            Arc::make_mut(&mut self.table).budget.conceal(at);
        }
        Some(PairTrial {
            scheduler,
            key,
            goal,
            yardstick: yardstick.clone(),
            challengers: class_challengers,
            order,
            first: None,
            begins,
            proven: is_recheck,
            settle,
        })
    }

    fn pair_done(&mut self, pair: &PairTrial, last: &Done, situation: &Situation<'_>, now: Moment) {
        let (candidate, incumbent) = match pair.finished() {
            (Some(candidate), _) => (candidate, last),
            (None, Some(incumbent)) => (last, incumbent),
            (None, None) => return,
        };
        let Some(says) = says(&pair.yardstick, candidate, incumbent) else {
            self.drop_trial("nothing could be compared", now);
            return;
        };
        let at = self.at(now);
        let record = Arc::make_mut(&mut self.table).record(&pair.key, at);
        let (challengers, begins) = (pair.challengers, pair.begins);
        let judged = record.add(&says, &pair.yardstick, challengers, begins, at);
        let finished = Finished {
            says: &says,
            candidate,
            incumbent,
        };
        self.keep_pair(PairEnd::Kept, judged, Some(&finished), now);
        if let Some(trial) = &mut self.trial {
            trial.pairs += 1;
        }
        let found = match judged.finding {
            Finding::Open => return self.next_pair(&pair.yardstick, situation, now),
            Finding::Better => "is better",
            Finding::Closed(Closed::Worse) => "is worse",
            Finding::Closed(Closed::NoDifference) => "makes no difference worth having",
        };
        let found = format!("{} {found}", pair.scheduler.name);
        self.end_trial(&found, None, now);
    }

    /// The candidate has to leave at once.
    pub(super) fn lose(&mut self, alarm: &Alarm, now: Moment) {
        let at = self.at(now);
        let Some(trial) = &self.trial else {
            return;
        };
        let Stage::Pair(pair) = &trial.stage else {
            return;
        };
        let record = Arc::make_mut(&mut self.table).record(&pair.key, at);
        let judged = record.lose(
            &alarm.to_string(),
            &pair.yardstick,
            pair.challengers,
            pair.begins,
            at,
        );
        self.keep_pair(PairEnd::Lost(alarm.to_string()), judged, None, now);
        self.end_trial(&alarm.to_string(), Some(alarm.guard()), now);
    }

    /// Has the pair that is on kept.
    pub(super) fn keep_pair(
        &mut self,
        end: PairEnd,
        judged: Judged,
        finished: Option<&Finished<'_>>,
        now: Moment,
    ) {
        let Some(trial) = &self.trial else {
            return;
        };
        let Stage::Pair(pair) = &trial.stage else {
            return;
        };
        let (candidate, incumbent) = match finished {
            Some(finished) => (Some(finished.candidate), Some(finished.incumbent)),
            None => pair.finished(),
        };
        let says = finished.map(|finished| finished.says);
        let kept = PairRecord {
            at: self.at(now),
            key: pair.key.clone(),
            candidate_first: pair.order.challenger_first,
            candidate: candidate.map(|done| done.measured),
            incumbent: incumbent.map(|done| done.measured),
            ratio: says.map(|says| says.ratio),
            guards: says.map_or_else(BTreeMap::new, |says| says.guards.iter().copied().collect()),
            e_better: judged.e_better,
            e_worse: judged.e_worse,
            end,
        };
        self.deeds.push(Deed::KeepPair(Box::new(kept)));
        self.deeds.push(Deed::KeepTable);
    }

    /// Goes back to the champion, with what came of it and the guard that had it end at once.
    pub(super) fn end_trial(&mut self, outcome: &str, guard: Option<&'static str>, now: Moment) {
        let Some(trial) = self.trial.take() else {
            return;
        };
        self.done = None;
        self.deeds.push(Deed::TrialEnded(Box::new(TrialEnd {
            class: trial.class.clone(),
            candidate: trial.tried().map(str::to_owned),
            pairs: trial.pairs,
            outcome: outcome.to_owned(),
            guard,
        })));
        if trial.arm() != trial.champion {
            self.switch_begins(now);
        }
        let next = now + self.between(now);
        self.set_slot(&trial.class, next, true, None);
    }
}
