//! A machine on which the real decisions run schedulers, with an executor and people. It checks at every moment that no limit is broken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use auto_ext_core::{Action, Cause, End, Event, Fault, KernelState, Moment, State, decide};
use auto_ext_policy::{Candidate, Goal, Policy, Power, Scheduler, TrialMode};
use auto_ext_signals::{Signal, Signals};
use auto_ext_trials::{
    Closed, Consent, HOURLY_SHARE, Here, PairEnd, Record, SWITCHES_PER_HOUR, Table, Unquiet,
};
use fastrand::Rng;

use crate::load::{Load, Truth};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);
/// When the moment zero is.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);
/// How long a scheduler loads, and how long the way to the kernel's own takes.
const LOADING: Duration = Duration::from_secs(2);
/// How far one looks ahead where nothing is measured.
const STRIDE: u32 = 20;

/// A limit that was broken, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

/// What people do meanwhile, each so often by the hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct People {
    /// Pin something for some minutes.
    pub pin: f64,
    /// Pin the kernel's own because what runs is worse than it.
    pub pin_against_worse: f64,
    /// Pull the plug for some minutes.
    pub unplug: f64,
    /// Withdraw their consent for an hour.
    pub withdraw: f64,
    /// Play something.
    pub play: f64,
}

/// What the decisions found of a challenger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing yet.
    Open,
    /// That it is better.
    Better,
    /// That it is worse, or that it had to leave.
    Worse,
    /// That there is no difference worth having.
    NoDifference,
}

/// A machine.
pub struct World {
    policy: Policy,
    state: State,
    now: Moment,
    truths: BTreeMap<String, Truth>,
    people: People,
    chance: Rng,
    load: Load,
    /// What the kernel runs.
    runs: Candidate,
    loading: Option<(Moment, Candidate)>,
    /// Until when what people began goes on, and how that ends.
    until: Vec<(Moment, Event)>,
    consents_until: Moment,
    misread_until: Moment,
    quiet: bool,
    mains: bool,
    /// When a trial's switch began, and for how long unproven candidates ran for one.
    trial_switches: VecDeque<Moment>,
    switches: VecDeque<Moment>,
    exposed: VecDeque<(Moment, Duration)>,
    /// Seconds, what was gained in them, and those on what is more than 3 % worse than the kernel's own.
    pub seconds: f64,
    /// See `seconds`.
    pub gained: f64,
    /// See `seconds`.
    pub worse_seconds: f64,
    /// Pairs that were kept or lost.
    pub pairs: usize,
    /// Alarms of guards and failures.
    pub lost: usize,
    /// What must never be.
    pub broken: Vec<Broken>,
}

/// The policy: one load, in which these are tried.
fn policy(challengers: &[(&str, Truth)], goal: Goal, mode: TrialMode) -> Policy {
    let names: Vec<&str> = challengers.iter().map(|(name, _)| *name).collect();
    let text = format!(
        "version: 1\ntrials: {{mode: {}}}\nrules:\n\
         - {{class: load, when: {{interactive: high}}, use: [kernel], try: [{}], goal: {}}}\n\
         - {{class: idle, use: [kernel]}}\n",
        mode.name(),
        names.join(", "),
        goal.name()
    );
    Policy::parse("policies.yaml", &text).unwrap_or_else(|error| {
        // The names are those of schedulers that are known.
        unreachable!("{error}")
    })
}

impl World {
    /// A machine with this load, on which these challengers are tried, of each of which something is true.
    #[must_use]
    pub fn new(
        load: Load,
        challengers: &[(&str, Truth)],
        goal: Goal,
        people: People,
        mode: TrialMode,
        seed: u64,
    ) -> Self {
        let policy = policy(challengers, goal, mode);
        let mut world = Self {
            state: State::new(&policy, false),
            now: SECOND,
            truths: challengers
                .iter()
                .map(|(name, truth)| (format!("scx_{name}"), *truth))
                .collect(),
            people,
            chance: Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15),
            load,
            runs: Candidate::Kernel,
            loading: None,
            until: Vec::new(),
            consents_until: Moment::ZERO,
            misread_until: Moment::ZERO,
            quiet: true,
            mains: true,
            trial_switches: VecDeque::new(),
            switches: VecDeque::new(),
            exposed: VecDeque::new(),
            seconds: 0.0,
            gained: 0.0,
            worse_seconds: 0.0,
            pairs: 0,
            lost: 0,
            broken: Vec::new(),
            policy,
        };
        let builds = world
            .truths
            .keys()
            .map(|command| (command.clone(), "1".to_owned()));
        let here = Here {
            builds: builds.collect(),
            ..Here::default()
        };
        let names = challengers.iter().map(|(name, _)| (*name).to_owned());
        for event in [
            Event::Kernel {
                state: KernelState::Disabled,
                ours: false,
            },
            Event::Installed(names.collect()),
            Event::Learned {
                table: Box::new(Table::default()),
                epoch: EPOCH,
            },
            Event::Here(Box::new(here)),
            Event::Seed(seed),
            Event::Quiet(Vec::new()),
            Event::Power(Some(Power::Ac)),
        ] {
            world.happens(event);
        }
        world.consent();
        world
    }

    /// Consents again.
    fn consent(&mut self) {
        self.consents_until = self.now + 20 * DAY;
        let consent = Consent {
            until: self.consents_until,
            lifted_until: Moment::ZERO,
        };
        self.happens(Event::Consent(Some(consent)));
    }

    /// What was found of the challenger with this name.
    #[must_use]
    pub fn told(&self, name: &str) -> Told {
        let Some(record) = self.record(name) else {
            return Told::Open;
        };
        match (record.proven(), record.closed()) {
            (Some(_), _) => Told::Better,
            (None, Some(Closed::Worse)) => Told::Worse,
            (None, Some(Closed::NoDifference)) => Told::NoDifference,
            (None, None) if record.on_bench(EPOCH + self.now).is_some() => Told::Worse,
            (None, None) => Told::Open,
        }
    }

    fn record(&self, name: &str) -> Option<&Record> {
        let command = format!("scx_{name}");
        let mut rows = self.state.trials().table().rows().iter();
        let found = rows.find(|row| {
            let build = row.key.scheduler.as_ref();
            build.is_some_and(|build| build.command == command)
        });
        found.map(|row| &row.record)
    }

    /// What the decisions want to run when no trial is on.
    #[must_use]
    pub fn choice(&self) -> Truth {
        let desired = match self.state.trials().trial() {
            Some(trial) => trial.champion(),
            None => self.state.desired(),
        };
        self.truth_of(desired)
    }

    /// Whether it was found that the load is too noisy to find anything.
    #[must_use]
    pub fn is_too_noisy(&self) -> bool {
        let rows = self.state.trials().table().rows().iter();
        let mut kernels = rows.filter(|row| row.key.scheduler.is_none());
        kernels.any(|row| row.record.on_bench(EPOCH + self.now).is_some())
    }

    /// How much time has passed.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    fn truth_of(&self, candidate: &Candidate) -> Truth {
        match candidate {
            Candidate::Kernel => Truth::default(),
            Candidate::Scheduler(scheduler) => self
                .truths
                .get(&scheduler.command)
                .copied()
                .unwrap_or_default(),
        }
    }

    /// Lets time pass: a second while something is measured or on its way, else as long as nothing would be looked at.
    pub fn pass(&mut self) {
        let measures = self.state.trials().measures();
        let is_near = measures || self.loading.is_some() || !self.until.is_empty();
        let seconds = if is_near { 1 } else { STRIDE };
        let time = SECOND * seconds;
        self.now += time;
        let truth = self.truth_of(&self.runs.clone());
        self.seconds += time.as_secs_f64();
        self.gained += truth.effect * time.as_secs_f64();
        if truth.effect < -0.03 {
            self.worse_seconds += time.as_secs_f64();
        }
        self.watch(time);
        if seconds > 1 {
            self.load.pass(seconds, &truth);
        }
        self.chances(&truth, time);
        self.load_on();
        if measures {
            let reading = self.load.second(&truth, self.now);
            self.happens(Event::Outcome(Arc::new(reading)));
        }
        let mut signals = Signals::default();
        let high = self.now >= self.misread_until;
        signals.set(Signal::Interactive, Some(if high { 1.0 } else { 0.0 }));
        self.happens(Event::Window { dt: time, signals });
    }

    /// What happens by chance.
    fn chances(&mut self, truth: &Truth, time: Duration) {
        let (due, left) = std::mem::take(&mut self.until)
            .into_iter()
            .partition::<Vec<_>, _>(|(until, _)| *until <= self.now);
        self.until = left;
        for (_, event) in due {
            match &event {
                Event::Quiet(_) => self.quiet = true,
                Event::Power(_) => self.mains = true,
                Event::Consent(_) => {
                    self.consent();
                    continue;
                }
                _ => {}
            }
            self.happens(event);
        }
        let seconds = time.as_secs_f64();
        let hour = HOUR.as_secs_f64() / seconds;
        if self.load.happens(truth.flicker, 60.0 / seconds) {
            self.misread_until = self.now + 6 * SECOND;
        }
        if let Candidate::Scheduler(scheduler) = &self.runs.clone()
            && self.load.happens(truth.failures, hour)
        {
            self.fails(scheduler);
        }
        let people = self.people;
        let against = if truth.effect < -0.03 {
            people.pin_against_worse
        } else {
            0.0
        };
        if self.load.happens(people.pin + against, hour) && self.state.pin().is_none() {
            let kernel = against > 0.0 || self.chance.bool();
            let to = if kernel {
                Candidate::Kernel
            } else {
                self.runs.clone()
            };
            let lasts = Some(self.minutes());
            self.happens(Event::Pinned {
                to,
                lasts,
                by: None,
            });
        }
        if self.load.happens(people.unplug, hour) && self.mains {
            self.mains = false;
            let until = self.now + self.minutes();
            self.until.push((until, Event::Power(Some(Power::Ac))));
            self.happens(Event::Power(Some(Power::Battery)));
        }
        if self.load.happens(people.play, hour) && self.quiet {
            self.quiet = false;
            let until = self.now + self.minutes();
            self.until.push((until, Event::Quiet(Vec::new())));
            self.happens(Event::Quiet(vec![Unquiet::Sound]));
        }
        if self.load.happens(people.withdraw, hour) && self.consents_until > self.now {
            self.consents_until = self.now;
            self.until.push((self.now + HOUR, Event::Consent(None)));
            self.happens(Event::Consent(None));
        }
    }

    fn minutes(&mut self) -> Duration {
        SECOND * self.chance.u32(60..600)
    }

    fn fails(&mut self, scheduler: &Scheduler) {
        self.runs = Candidate::Kernel;
        self.happens(Event::Kernel {
            state: KernelState::Disabled,
            ours: false,
        });
        self.happens(Event::SchedulerExited {
            scheduler: scheduler.clone(),
            end: End {
                cause: Cause::Crashed,
                text: "crashed".to_owned(),
            },
        });
    }

    /// Finishes the switch that is on its way, if it is time.
    fn load_on(&mut self) {
        if let Some((_, to)) = self.loading.take_if(|(at, _)| *at <= self.now) {
            self.runs = to.clone();
            let kernel = match &to {
                Candidate::Kernel => KernelState::Disabled,
                Candidate::Scheduler(scheduler) => KernelState::Enabled {
                    ops: scheduler.name.clone(),
                },
            };
            let ours = to != Candidate::Kernel;
            self.switches.push_back(self.now);
            self.happens(Event::Kernel {
                state: kernel,
                ours,
            });
            self.happens(Event::Switched { to });
        }
    }

    fn happens(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let (state, actions) = decide(&self.policy, &self.state, event, self.now);
            self.state = state;
            for action in actions {
                match action {
                    Action::Switch { to, trial, .. } => {
                        if trial {
                            self.trial_switches.push_back(self.now);
                        }
                        let takes = match to {
                            Candidate::Kernel => Duration::ZERO,
                            Candidate::Scheduler(_) => LOADING,
                        };
                        self.loading = Some((self.now + takes, to));
                    }
                    Action::Cancel => {
                        let Some((_, to)) = self.loading.take() else {
                            continue;
                        };
                        let left = match &self.runs {
                            Candidate::Kernel => None,
                            Candidate::Scheduler(scheduler) => Some(scheduler.clone()),
                        };
                        events.push_back(Event::SwitchFailed {
                            to,
                            error: "cancelled".to_owned(),
                            fault: Fault::Cancelled,
                            left,
                        });
                    }
                    Action::KeepPair(pair) => match pair.end {
                        PairEnd::Kept => self.pairs += 1,
                        PairEnd::Lost(_) => {
                            self.pairs += 1;
                            self.lost += 1;
                        }
                        PairEnd::Dropped(_) => {}
                    },
                    Action::Measure(_) | Action::KeepLearned | Action::TrialEnded(_) => {}
                }
            }
        }
        self.check();
    }

    fn is_proven(&self, scheduler: &Scheduler) -> bool {
        let name = scheduler.command.trim_start_matches("scx_");
        self.record(name)
            .is_some_and(|record| record.proven().is_some())
    }

    /// Keeps the limits of what time is spent on.
    fn watch(&mut self, time: Duration) {
        let forget = |at: &Moment, now: Moment, span: Duration| *at + span <= now;
        while self
            .trial_switches
            .front()
            .is_some_and(|at| forget(at, self.now, HOUR))
        {
            self.trial_switches.pop_front();
        }
        while self
            .switches
            .front()
            .is_some_and(|at| forget(at, self.now, HOUR))
        {
            self.switches.pop_front();
        }
        while self
            .exposed
            .front()
            .is_some_and(|(at, _)| forget(at, self.now, DAY))
        {
            self.exposed.pop_front();
        }
        let Candidate::Scheduler(running) = &self.runs else {
            return;
        };
        if self.state.pin().is_none() && !self.is_proven(running) {
            self.exposed.push_back((self.now, time));
            let of_hour = |(at, _): &&(Moment, Duration)| self.now < *at + HOUR;
            let sum = |seconds: Vec<&(Moment, Duration)>| -> Duration {
                seconds.iter().map(|(_, time)| *time).sum()
            };
            let hour = sum(self.exposed.iter().rev().take_while(of_hour).collect());
            let day = sum(self.exposed.iter().collect());
            if hour > HOUR.mul_f64(HOURLY_SHARE) {
                self.breaks(format!("{hour:?} of an hour on what is not proven"));
            }
            if day > DAY.mul_f64(self.policy.trials.exposure) {
                self.breaks(format!("{day:?} of a day on what is not proven"));
            }
        }
    }

    /// What must be true whatever happened.
    fn check(&mut self) {
        let consents = match self.policy.trials.mode {
            TrialMode::On | TrialMode::Watch => true,
            TrialMode::Ask => self.now < self.consents_until,
            TrialMode::Off => false,
        };
        let is_pinned = self.state.pin().is_some();
        let is_free = consents && self.quiet && self.mains && !is_pinned;
        if self.state.choice().trial && !is_free {
            self.breaks("a trial goes on although something is in its way".to_owned());
        }
        let watches = self.policy.trials.mode == TrialMode::Watch;
        if watches && *self.state.desired() != Candidate::Kernel {
            self.breaks("something is tried that was only to be watched".to_owned());
        }
        if self.state.trials().measures() && !self.state.choice().trial {
            self.breaks("something is measured without a trial".to_owned());
        }
        if let Candidate::Scheduler(desired) = self.state.desired().clone()
            && !self.state.choice().trial
            && !is_pinned
            && !self.is_proven(&desired)
        {
            self.breaks(format!("{desired:?} is preferred without evidence"));
        }
        if self.trial_switches.len() > SWITCHES_PER_HOUR {
            self.breaks("too many switches of trials in an hour".to_owned());
        }
        let most = self.policy.stability.max_switches_per_hour as usize;
        // People's own pins do not count.
        let pins = self.people != People::default();
        if self.switches.len() > most && !pins {
            self.breaks("too many switches in an hour".to_owned());
        }
    }

    fn breaks(&mut self, what: String) {
        // One of a kind says it.
        if self.broken.len() < 10 && !self.broken.iter().any(|Broken(known)| *known == what) {
            self.broken.push(Broken(what));
        }
    }
}
