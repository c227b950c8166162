//! What trials are told of the machine, and what is done for them: what was found is read and kept, what is in the way is looked for,
//! outcomes are measured. Whether and what is tried is decided in the core.

use std::sync::Arc;
use std::time::Duration;

use auto_ext_core::Event;
use auto_ext_policy::{KERNEL, TrialMode};
use auto_ext_profiler::AttachError;
use auto_ext_scx::process::executable;
use auto_ext_scx::sysfs;
use auto_ext_service::clock::{microseconds, now_us};
use auto_ext_trials::{Consent, Here, PairEnd, PairRecord, TrialEnd, Unquiet};

use super::measuring::Measuring;
use super::state::Daemon;
use crate::persistence::history::{Entry, Kind};
use crate::persistence::trial_store::{Kept, KeptConsent};
use crate::sources::surroundings::Surroundings;
use crate::sources::{here, randomness};

impl Daemon {
    /// Passes on what was learned before the daemon was started, before anything is decided; without it there are no trials.
    pub(super) async fn begin_trials(&mut self) {
        let Some(Kept { table, consent }) = self.trials.kept.take() else {
            return;
        };
        let (now, today) = (self.now(), now_us());
        let epoch = Duration::from_micros(today).saturating_sub(now);
        let table = Box::new(table);
        self.apply_event(Event::Learned { table, epoch }).await;
        match randomness::number() {
            Ok(seed) => self.apply_event(Event::Seed(seed)).await,
            Err(error) => tracing::warn!("nothing is tried, as there is no chance: {error}"),
        }
        if let Some(consent) = consent {
            let moment = |at: u64| now + Duration::from_micros(at.saturating_sub(today));
            let consent = Consent {
                until: moment(consent.until),
                lifted_until: moment(consent.lifted_until),
            };
            self.apply_event(Event::Consent(Some(consent))).await;
        }
        self.trials.processor = here::processor("/".as_ref());
        self.find_here().await;
    }

    /// Finds out on which machine this is, and with which builds of schedulers.
    pub(super) async fn find_here(&mut self) {
        if self.trials.store.is_none() {
            return;
        }
        let find = |command: &str| executable::find(command).ok();
        let machine = here::machine(sysfs::release(), &self.trials.processor, "/".as_ref());
        let here = Here {
            machine,
            builds: here::builds(&self.policy, find),
        };
        if self.trials.here.as_ref() != Some(&here) {
            self.trials.here = Some(here.clone());
            self.apply_event(Event::Here(Box::new(here))).await;
        }
    }

    /// Looks for what is in the way as long as the policy has anything tried.
    pub(super) async fn follow_surroundings(&mut self) {
        let wanted = self.policy.trials.mode != TrialMode::Off && self.trials.store.is_some();
        if !wanted {
            self.trials.surroundings = None;
            self.trials.around = None;
        } else if self.trials.surroundings.is_none() {
            self.trials.surroundings = Some(Surroundings::follow());
        }
        self.tell_quiet().await;
    }

    /// Something else is in the way by the surroundings.
    pub(super) async fn surroundings_changed(&mut self, unquiet: Vec<Unquiet>) {
        self.trials.around = Some(unquiet);
        self.find_here().await;
        self.tell_quiet().await;
    }

    /// Others keep the machine from becoming idle; `None`: it is not known who does.
    pub(super) async fn inhibited(&mut self, who: Option<Vec<String>>) {
        self.trials.inhibited = who;
        self.tell_quiet().await;
    }

    /// The power profile is known, or is not any more.
    pub(super) async fn knows_profile(&mut self, knows: bool) {
        self.trials.knows_profile = knows;
        self.tell_quiet().await;
    }

    async fn tell_quiet(&mut self) {
        let unquiet = self.trials.unquiet();
        if self.trials.store.is_some() && self.trials.told.as_ref() != Some(&unquiet) {
            self.trials.told = Some(unquiet.clone());
            self.apply_event(Event::Quiet(unquiet)).await;
        }
    }

    /// Begins or ends to measure outcomes, and to look closely for what is in the way.
    pub(super) fn measure(&mut self, on: bool) {
        if let Some(measuring) = self.trials.measuring.take() {
            drop(measuring.end());
        }
        if on {
            self.trials.measuring = Some(Measuring::begin());
        }
        if let Some(surroundings) = &self.trials.surroundings {
            surroundings.look_closely(on);
        }
    }

    /// A reading of outcomes is due, or there will be none.
    pub(super) async fn reading_due(&mut self, due: Result<(), AttachError>) {
        if let Err(error) = due {
            // The trial ends for want of readings.
            tracing::warn!("nothing can be measured for trials: {error}");
            self.trials.measuring = None;
            return;
        }
        let sample = self.profiler.sample();
        let service = self.cgroups.service();
        let measuring = self.trials.measuring.as_mut();
        let reading = measuring.and_then(|measuring| measuring.read(&sample, service));
        if let Some(reading) = reading {
            self.apply_event(Event::Outcome(Arc::new(reading))).await;
        }
    }

    /// Keeps and counts a pair.
    pub(super) fn keep_pair(&mut self, pair: Box<PairRecord>) {
        let scheduler = pair.key.scheduler.as_ref();
        let scheduler = scheduler.map_or(KERNEL, |build| build.command.as_str());
        let end = match pair.end {
            PairEnd::Kept => "kept",
            PairEnd::Lost(_) => "lost",
            PairEnd::Dropped(_) => "dropped",
        };
        self.counters.counters().pair(scheduler, end);
        if let Some(store) = &self.trials.store {
            store.keep_pair(pair);
        }
    }

    /// Keeps what was learned.
    pub(super) fn keep_learned(&self) {
        if let Some(store) = &self.trials.store {
            store.keep_table(self.state.trials().table().clone());
        }
    }

    /// Records and announces that a trial has ended.
    pub(super) fn trial_ended(&mut self, end: TrialEnd) {
        let TrialEnd {
            class,
            candidate,
            pairs,
            outcome,
            guard,
        } = end;
        let candidate = candidate.unwrap_or_default();
        tracing::info!(class, candidate, pairs, "a trial has ended: {outcome}");
        if let Some(guard) = guard {
            self.counters.counters().guard(guard);
        }
        if let Some(bus) = &self.bus {
            bus.trial_ended(&class, &candidate, &outcome);
        }
        let to = if candidate.is_empty() {
            KERNEL
        } else {
            &candidate
        };
        let counted = if pairs == 1 { "pair" } else { "pairs" };
        let reason = format!("{pairs} {counted}, {outcome}");
        let entry = self.entry(Kind::Trial, KERNEL, to, &reason, "");
        self.remember(Entry { class, ..entry });
    }

    /// Keeps what somebody consents to, and passes it on.
    pub(super) async fn set_consent(&mut self, consent: Option<Consent>) {
        let (now, today) = (self.now(), now_us());
        let wall = |at: Duration| today.saturating_add(microseconds(at.saturating_sub(now)));
        if let Some(store) = &self.trials.store {
            store.keep_consent(consent.map(|consent| KeptConsent {
                until: wall(consent.until),
                lifted_until: wall(consent.lifted_until),
            }));
        }
        self.apply_event(Event::Consent(consent)).await;
    }
}
