//! From an event to the next state and what is to be done.

use std::sync::Arc;

use super::event::{Action, Event, Observed};
use super::history::{Entry, Outcome};
use super::knowledge::{Candidate, Situation};
use super::moment::Moment;
use super::obstacle::{LEDGER_IN_USE, obstacle};
use super::patience::Jobs;
use super::proof::{Adopted, Doubt};
use super::state::{Config, Counters, Pause, Phase, State};
use super::trying::{Next, Trying};
use crate::trial::Effect;

/// So many trials in a row that were given up are too many, and how long nothing is tried then, in seconds.
const MAX_ABORTED: u32 = 3;
const DAY: u64 = 24 * 3600;

/// Applies `event`, which happened at `now`, to `state`, and says what is to be done.
///
/// `now` must not be less than in an earlier call.
#[must_use]
pub fn decide(config: &Config, state: &State, event: Event, now: Moment) -> (State, Vec<Action>) {
    let mut step = Step {
        config,
        next: state.clone(),
        actions: Vec::new(),
        now,
    };
    step.apply(event);
    step.go_on();
    (step.next, step.actions)
}

/// What would be tried now by what is known, the best first; empty where nothing promises to be better.
#[must_use]
pub fn proposals(config: &Config, state: &State, now: Moment) -> Vec<Candidate> {
    let Some(situation) = &state.situation else {
        return Vec::new();
    };
    let scores = state.learnt.scores(situation, now);
    situation.candidates(&scores, config.margin, state.placed())
}

/// What becomes of one event.
struct Step<'c> {
    config: &'c Config,
    next: State,
    actions: Vec<Action>,
    now: Moment,
}

impl Step<'_> {
    fn apply(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Situation(Ok(situation)) => self.situation(situation),
            Event::Situation(Err(why)) => {
                self.give_up(&why, false);
                self.next.situation = None;
                self.next.no_situation = Some(why);
            }
            Event::Window(observed) => self.window(observed),
            Event::Counters(Ok(())) => self.next.counters = Counters::Valid,
            Event::Counters(Err(why)) => {
                self.give_up(&why, true);
                self.next.counters = Counters::Invalid(why);
            }
            Event::OtherScheduler(runs) => {
                if runs {
                    self.give_up("a sched_ext scheduler runs", false);
                } else if self.next.other_scheduler {
                    self.next.alone_since = Some(now);
                }
                self.next.other_scheduler = runs;
            }
            Event::LedgerInUse(in_use) => {
                if in_use {
                    self.ledger_in_use();
                }
                self.next.ledger_in_use = in_use;
            }
            Event::Foreign(key) => {
                let why = format!("somebody else placed {key}");
                self.give_up(&why, true);
            }
            Event::Paused(lasts) => {
                self.give_up("paused", false);
                self.next.pause = lasts.map_or(Pause::Always, |lasts| Pause::Until(now + lasts));
            }
            Event::Resumed => self.next.pause = Pause::None,
            Event::RestoreAsked => {
                self.give_up("asked to restore", false);
                // Until the next hour nothing is placed again.
                self.next.last_trial = Some(now);
            }
            Event::TrialAsked => self.next.trial_asked = true,
            Event::Remembered(sets) => self.next.patience.remember(sets, now),
            Event::Tick => {}
        }
    }

    /// Whoever comes, goes or changes makes what is under way mean nothing.
    fn situation(&mut self, situation: Arc<Situation>) {
        let before = self.next.situation.as_ref();
        if before.is_some_and(|before| !before.is_same_as(&situation)) {
            self.give_up("groups or cores changed", true);
        }
        // What is under way goes on with the scores that it began with.
        if self.next.phase == Phase::Rest {
            self.next.situation = Some(situation);
        }
        self.next.no_situation = None;
    }

    fn window(&mut self, observed: Observed) {
        let Some(situation) = self.next.situation.clone() else {
            return;
        };
        // Of other groups: it was on its way when they changed.
        if observed.speeds.len() != situation.members.len() {
            return;
        }
        let now = self.now;
        match &mut self.next.phase {
            Phase::Rest => {}
            Phase::Trying(trying) => trying.add(observed, now),
            Phase::Adopted(adopted) => {
                let was_proven = adopted.is_proven();
                let doubt = adopted.add(observed, now);
                if let Some(doubt) = doubt {
                    self.doubt(&situation, was_proven, &doubt);
                } else if !was_proven && adopted.is_proven() {
                    self.next.patience.forget(&situation.jobs());
                    self.remember();
                }
            }
        }
    }

    /// Takes back what was adopted.
    fn doubt(&mut self, situation: &Situation, was_proven: bool, doubt: &Doubt) {
        let why = match doubt {
            Doubt::Unproven(gain) => {
                format!("it gains {:.1} %, not what the trial said", 100.0 * gain)
            }
            Doubt::Lost(gain) => format!("it gains {:.1} % now", 100.0 * gain),
            Doubt::Changed(group) => {
                let job = situation
                    .members
                    .get(*group)
                    .map(|member| member.job.as_str());
                format!("{} does something else now", job.unwrap_or("a group"))
            }
            Doubt::Blind => "nothing is counted any more".to_owned(),
        };
        self.restore();
        if !was_proven {
            self.next.patience.add(situation.jobs(), self.now);
            self.remember();
        }
        self.record(situation.jobs(), Outcome::Restored { why });
    }

    /// Goes back to what was found, if anything is under way. Whatever `counts` was not asked for, and too much of it is a sign
    /// that this is no machine to try things on.
    fn give_up(&mut self, why: &str, counts: bool) {
        let jobs = self
            .next
            .situation
            .as_ref()
            .map(|situation| situation.jobs());
        let jobs = jobs.unwrap_or_default();
        let why = why.to_owned();
        match self.next.phase {
            Phase::Rest => return,
            Phase::Adopted(_) => self.record(jobs, Outcome::Restored { why }),
            Phase::Trying(_) => {
                if counts {
                    self.next.aborted += 1;
                }
                if self.next.aborted >= MAX_ABORTED {
                    self.next.aborted = 0;
                    self.next.observe_until = Some(self.now + Moment::from_secs(DAY));
                }
                self.record(jobs, Outcome::Aborted { why });
            }
        }
        self.restore();
    }

    /// Nobody is at fault. A trial in which nothing was placed yet took nothing from anybody: it need not wait for the next hour.
    fn ledger_in_use(&mut self) {
        let phase = &self.next.phase;
        let untouched = matches!(phase, Phase::Trying(trying) if trying.on() == Some(0));
        self.give_up(LEDGER_IN_USE, false);
        if untouched {
            self.next.last_trial = None;
        }
    }

    fn restore(&mut self) {
        self.next.phase = Phase::Rest;
        self.actions.push(Action::Restore);
        self.actions.push(Action::Count(false));
    }

    /// What follows without any further event.
    fn go_on(&mut self) {
        let now = self.now;
        let Some(situation) = self.next.situation.clone() else {
            return;
        };
        match &mut self.next.phase {
            Phase::Rest => self.begin(&situation, None),
            Phase::Trying(trying) => {
                match trying.next(&situation.weights(), self.config.margin, now) {
                    Next::Wait => {}
                    Next::Found => self.actions.push(Action::Restore),
                    Next::Try(candidate) => self.actions.push(Action::Pin(candidate)),
                    Next::Over => {
                        let trying = std::mem::take(&mut self.next.phase);
                        if let Phase::Trying(trying) = trying {
                            self.judge(&situation, &trying);
                        }
                    }
                }
            }
            Phase::Adopted(adopted) if now.saturating_sub(adopted.since) >= self.config.hold => {
                let current = adopted.candidate.clone();
                self.begin(&situation, Some(&current));
            }
            Phase::Adopted(_) => {}
        }
    }

    /// Begins a trial if there is something to try.
    fn begin(&mut self, situation: &Situation, current: Option<&Candidate>) {
        if obstacle(self.config, &self.next, self.now).is_some() {
            return;
        }
        let placement = current.map(|candidate| &candidate.placement);
        let scores = self.next.learnt.scores(situation, self.now);
        let candidates = situation.candidates(&scores, self.config.margin, placement);
        if candidates.is_empty() {
            if current.is_some() {
                // What is known now says nothing for it any more.
                let why = "it promises nothing any more".to_owned();
                self.restore();
                self.record(situation.jobs(), Outcome::Restored { why });
            }
            return;
        }
        if current.is_some() {
            self.actions.push(Action::Restore);
        }
        self.next.trial_asked = false;
        self.next.last_trial = Some(self.now);
        self.next.phase = Phase::Trying(Box::new(Trying::new(candidates, self.now)));
        self.actions.push(Action::Count(true));
    }

    /// Adopts the best candidate that is proven to be better and harms nobody.
    fn judge(&mut self, situation: &Situation, trying: &Trying) {
        self.next.aborted = 0;
        let weights = situation.weights();
        let effects = trying.effects(&weights);
        for (candidate, effect) in &effects {
            let placement = &candidate.placement;
            self.next
                .learnt
                .add(situation, placement, &effect.speeds, self.now);
        }
        let best_gain = effects
            .iter()
            .map(|(_, effect)| effect.gain)
            .reduce(f64::max);
        let is_better =
            |(_, effect): &&(Arc<Candidate>, Effect)| effect.is_better(self.config.margin);
        let better = effects.iter().filter(is_better);
        let best = better.max_by(|(_, one), (_, other)| one.gain.total_cmp(&other.gain));
        let jobs = situation.jobs();
        let Some((candidate, effect)) = best else {
            self.restore();
            self.next.patience.add(jobs.clone(), self.now);
            self.remember();
            self.record(jobs, Outcome::Fruitless { best: best_gain });
            return;
        };
        let found = trying.found_around(candidate);
        let adopted = Adopted::new(candidate.clone(), effect, &found, weights, self.now);
        self.next.phase = Phase::Adopted(Box::new(adopted));
        self.actions.push(Action::Pin(candidate.clone()));
        let outcome = Outcome::Adopted {
            gain: effect.gain,
            lower: effect.lower,
        };
        self.record(jobs, outcome);
    }

    fn record(&mut self, jobs: Jobs, outcome: Outcome) {
        self.actions.push(Action::Record(Entry {
            at: self.now.as_secs(),
            jobs: jobs.into_iter().collect(),
            outcome,
        }));
    }

    fn remember(&mut self) {
        self.actions
            .push(Action::Remember(self.next.patience.sets()));
    }
}
