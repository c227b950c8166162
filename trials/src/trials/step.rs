//! From how things stand to what is to be done: whether it is quiet, what is spent, whether a trial begins.

use std::sync::Arc;
use std::time::Duration;

use auto_ext_evidence::SETTLE;
use auto_ext_policy::{Candidate, NO_CLASS, Power, Precedence, Rule, Scheduler, TrialMode};

use super::state::{Alike, Deed, Situation, Slot, Trials, Work};
use crate::budget::{Budget, KEPT_FOR_OTHERS};
use crate::guard::Guard;
use crate::moment::Moment;
use crate::noise;
use crate::plan::{RECHECK_EVERY, goals};
use crate::quiet::{Unquiet, Waits};
use crate::trial::{Stage, Trial};
use crate::turn::Turn;

/// For how long the class and the quiet must have lasted.
const STEADY_FOR: Duration = Duration::from_secs(30);
/// How long the champion runs between two trials of a class; without the shares of the budget, less.
const BETWEEN_TRIALS: Duration = Duration::from_mins(10);
const BETWEEN_LIFTED: Duration = Duration::from_secs(30);
/// How soon it is looked again whether the budget allows one.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long the way back from a candidate to the kernel's own scheduler may take, and to one that has to be loaded.
const LEAVING: Duration = Duration::from_secs(15);
const LEAVING_FOR_ANOTHER: Duration = Duration::from_secs(75);
/// A pair has two switches at most, and one leads back.
const SWITCHES_OF_A_PAIR: usize = 3;
/// More classes than a policy has rules are not remembered.
const MAX_CLASSES: usize = 512;

impl Trials {
    /// Looks at how things stand. What is to run is [`Self::arm`] from then on.
    pub fn step(&mut self, situation: &Situation<'_>, now: Moment) -> Vec<Deed> {
        self.follow_power(situation, now);
        self.follow_exposure(situation, now);
        self.look_for_quiet(situation, now);
        if self.trial.is_none() {
            self.begin_if_due(situation, now);
        } else if let Some(first) = self.unquiet.first() {
            let why = first.to_string();
            self.drop_trial(&why, now);
        } else {
            self.go_on(situation, now);
        }
        self.follow_exposure(situation, now);
        let measures = self.trial.is_some();
        if std::mem::replace(&mut self.measures, measures) != measures {
            self.deeds.push(Deed::Measure(measures));
        }
        std::mem::take(&mut self.deeds)
    }

    /// Records that a switch of a trial begins.
    pub fn switch_begins(&mut self, now: Moment) {
        let at = self.at(now);
        Arc::make_mut(&mut self.table).budget.switch(at);
    }

    fn look_for_quiet(&mut self, situation: &Situation<'_>, now: Moment) {
        let mut unquiet = situation.unquiet.clone();
        let consents = match situation.policy.trials.mode {
            TrialMode::Off => false,
            TrialMode::Watch | TrialMode::On => true,
            TrialMode::Ask => self.consent.is_some_and(|consent| now < consent.until),
        };
        if !consents {
            unquiet.insert(0, Unquiet::NoConsent);
        }
        match &self.others_unquiet {
            None => unquiet.push(Unquiet::NotKnown),
            Some(others) => unquiet.extend(others.iter().cloned()),
        }
        if situation.power != Some(Power::Ac) {
            unquiet.push(Unquiet::NotOnMains);
        }
        let rule = situation.policy.rule(situation.class);
        if let Some(rule) = rule.filter(|rule| rule.precedence() != Precedence::Measured) {
            unquiet.push(Unquiet::OverruledBy(rule.class.clone()));
        }
        match unquiet.is_empty() {
            true => drop(self.quiet_since.get_or_insert(now)),
            false => self.quiet_since = None,
        }
        self.unquiet = unquiet;
    }

    /// Notes since when the machine is powered as it is.
    fn follow_power(&mut self, situation: &Situation<'_>, now: Moment) {
        let (power, profile) = (situation.power, situation.profile);
        let is_as_before = |alike: &Alike| (alike.power, alike.profile) == (power, profile);
        if !self.alike.as_ref().is_some_and(is_as_before) {
            self.alike = Some(Alike {
                power,
                profile,
                since: now,
            });
            // Right after the start they become known one after the other.
            self.quiet_since = None;
        }
    }

    /// Counts the time in which a candidate of which nothing is proven runs for a trial.
    fn follow_exposure(&mut self, situation: &Situation<'_>, now: Moment) {
        let at = self.at(now);
        let runs = |scheduler: &Scheduler| match situation.runs {
            Candidate::Kernel => false,
            Candidate::Scheduler(running) => running.is_same_as(scheduler),
        };
        let wanted = |scheduler: &Scheduler| match situation.desired {
            None | Some(Candidate::Kernel) => false,
            Some(Candidate::Scheduler(desired)) => desired.is_same_as(scheduler),
        };
        let over = self
            .exposed
            .take_if(|exposed| !runs(exposed) || (self.trial.is_none() && wanted(exposed)));
        if over.is_some() {
            Arc::make_mut(&mut self.table).budget.conceal(at);
        }
        let candidate = self.trial.as_ref().and_then(|trial| trial.candidate());
        let begins = candidate
            .filter(|pair| self.exposed.is_none() && !pair.proven && runs(&pair.scheduler));
        if let Some(pair) = begins
            && let Some(trial) = &self.trial
        {
            let at_most = exposure_of(pair.settle, trial.arm, &trial.champion);
            self.exposed = Some(pair.scheduler.clone());
            Arc::make_mut(&mut self.table).budget.expose(at, at_most);
            self.deeds.push(Deed::KeepTable);
        }
    }

    fn begin_if_due(&mut self, situation: &Situation<'_>, now: Moment) {
        let Situation { policy, class, .. } = *situation;
        let steady = |since: Moment| now.saturating_sub(since) >= STEADY_FOR;
        let Some(champion) = situation.desired else {
            return;
        };
        let is_ready = self.quiet_since.is_some_and(steady)
            && steady(situation.class_since)
            && situation.is_settled
            && !situation.is_switching
            && self.coin.is_some();
        let slot = self.slots.get(class).copied().unwrap_or_default();
        if !is_ready || class == NO_CLASS {
            self.waits = None;
            return;
        }
        if now < slot.next {
            return;
        }
        let Some(rule) = policy.rule(class) else {
            return;
        };
        let Some(work) = self.work(rule, situation, slot, now) else {
            let can_all_run = Situation {
                can_run: &|_| true,
                unquiet: Vec::new(),
                ..*situation
            };
            let cannot_run = self.work(rule, &can_all_run, slot, now).is_some();
            self.waits = cannot_run.then_some(Waits::CannotRun);
            let next = now + self.between(now);
            self.set_slot(class, next, true, None);
            return;
        };
        let incumbent = match work {
            Work::Noise => situation.runs.clone(),
            Work::Challenger | Work::Recheck => Candidate::Kernel,
        };
        let at = self.at(now);
        let stays = incumbent == *situation.runs;
        let proven = work == Work::Recheck;
        let budget = &self.table.budget;
        let exposure = exposure_of(SETTLE[0], policy.trials.arm, champion);
        let exposure = (!proven).then_some(exposure);
        let has_switches = stays || budget.allows_switches(SWITCHES_OF_A_PAIR + 1, at);
        self.waits = match work {
            Work::Challenger | Work::Recheck if has_switches => {
                self.unaffordable(budget, situation, exposure, now)
            }
            _ => (!has_switches).then_some(Waits::Switches),
        };
        if self.waits.is_some() {
            self.set_slot(class, now + LOOK_AGAIN, false, None);
            return;
        }
        self.trial = Some(Box::new(Trial {
            class: class.to_owned(),
            champion: champion.clone(),
            incumbent,
            profile: situation.profile,
            arm: policy.trials.arm,
            stage: Stage::Incumbent,
            turn: Turn::new(SETTLE[0], policy.trials.arm, now),
            reference: None,
            measured: None,
            guard: Guard::default(),
            turns: 0,
            pairs: 0,
        }));
    }

    /// What a trial of the class would be for; `None`: nothing.
    pub(super) fn work(
        &self,
        rule: &Rule,
        situation: &Situation<'_>,
        slot: Slot,
        now: Moment,
    ) -> Option<Work> {
        let knowledge = self.knowledge(situation.power, situation.profile, now)?;
        let mut goals = goals(rule);
        if let Some(with_sleepers) = slot.with_sleepers {
            goals.retain(|goal| *goal == rule.goal(with_sleepers));
        }
        let mut works = goals.iter().filter_map(|goal| {
            let shams = knowledge.key(&rule.class, *goal, None)?;
            let shams = knowledge.table.get(&shams);
            if shams.is_some_and(|shams| shams.on_bench(knowledge.at).is_some()) {
                return None;
            }
            if situation.policy.trials.mode == TrialMode::Watch {
                let is_told = shams.is_some_and(|shams| noise::sigma(shams).is_some());
                return (!is_told).then_some(Work::Noise);
            }
            let proven = knowledge.proven(rule, &[*goal]);
            let can_meet = proven
                .iter()
                .any(|scheduler| (situation.can_run)(scheduler));
            if slot.count % RECHECK_EVERY == RECHECK_EVERY - 1 && can_meet {
                return Some(Work::Recheck);
            }
            let next = knowledge.next(rule, *goal, situation.can_run);
            next.map(|_| Work::Challenger)
        });
        works.next()
    }

    /// What of the budget has no room for a pair whose candidate runs for this long, if nothing is proven of it.
    pub(super) fn unaffordable(
        &self,
        budget: &Budget,
        situation: &Situation<'_>,
        exposure: Option<Duration>,
        now: Moment,
    ) -> Option<Waits> {
        let (at, daily) = (self.at(now), situation.policy.trials.exposure);
        let has_room =
            |exposure| self.is_lifted(now) || budget.allows_exposure(exposure, daily, at);
        let has_switches = situation.switches_left >= SWITCHES_OF_A_PAIR + KEPT_FOR_OTHERS
            && budget.allows_switches(SWITCHES_OF_A_PAIR, at);
        if !has_switches {
            return Some(Waits::Switches);
        }
        (!exposure.is_none_or(has_room)).then_some(Waits::Exposure)
    }

    pub(super) fn between(&self, now: Moment) -> Duration {
        if self.is_lifted(now) {
            BETWEEN_LIFTED
        } else {
            BETWEEN_TRIALS
        }
    }

    pub(super) fn set_slot(
        &mut self,
        class: &str,
        next: Moment,
        counts: bool,
        with_sleepers: Option<bool>,
    ) {
        if self.slots.len() >= MAX_CLASSES && !self.slots.contains_key(class) {
            self.slots.clear();
        }
        let slot = self.slots.entry(class.to_owned()).or_default();
        slot.next = next;
        slot.count = slot.count.wrapping_add(u32::from(counts));
        slot.with_sleepers = with_sleepers.or(slot.with_sleepers);
    }
}

/// For how long a candidate runs at most in its turn, until what comes next runs.
pub(super) fn exposure_of(settle: Duration, arm: Duration, champion: &Candidate) -> Duration {
    let leaving = match champion {
        Candidate::Kernel => LEAVING,
        Candidate::Scheduler(_) => LEAVING_FOR_ANOTHER,
    };
    Turn::at_most(settle, arm) + leaving
}
