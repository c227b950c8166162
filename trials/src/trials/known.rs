//! What is known of trials, and what follows from it for what runs.

use std::time::Duration;

use auto_ext_policy::{Candidate, Goal, Policy, Power, Profile, Rule, Scheduler, TrialMode};

use super::state::{Consent, Trials};
use crate::key::Key;
use crate::moment::Moment;
use crate::plan::Knowledge;
use crate::quiet::{Unquiet, Waits};
use crate::status::{ClassStatus, TrialStatus};
use crate::table::Table;
use crate::trial::Trial;
use crate::yardstick::METRIC_VERSION;

impl Trials {
    /// What is to run in a trial; `None` when none is on.
    #[must_use]
    pub fn arm(&self) -> Option<Candidate> {
        self.trial.as_ref().map(|trial| trial.arm())
    }

    /// The trial that is on.
    #[must_use]
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_deref()
    }

    /// What was learned, and spent on it.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What is in the way of a trial.
    #[must_use]
    pub fn unquiet(&self) -> &[Unquiet] {
        &self.unquiet
    }

    /// Why no trial begins though nothing is in its way.
    #[must_use]
    pub fn waits(&self) -> Option<Waits> {
        self.waits
    }

    /// What somebody consents to.
    #[must_use]
    pub fn consented(&self) -> Option<Consent> {
        self.consent
    }

    /// When the turn that is on ends; `None` while its scheduler does not run yet, and without a trial.
    #[must_use]
    pub fn turn_end(&self) -> Option<Moment> {
        self.trial.as_ref()?.turn.end()
    }

    /// Whether outcomes are to be measured.
    #[must_use]
    pub fn measures(&self) -> bool {
        self.measures
    }

    /// What is to run under `rule` by what was found; `None` where that is what the rule says.
    #[must_use]
    pub fn candidates(
        &self,
        policy: &Policy,
        rule: &Rule,
        power: Option<Power>,
        profile: Option<Profile>,
        now: Moment,
    ) -> Option<Vec<Candidate>> {
        match policy.trials.mode {
            TrialMode::Off | TrialMode::Watch => None,
            mode => self.knowledge(power, profile, now)?.candidates(rule, mode),
        }
    }

    /// The trial that is on, for people.
    #[must_use]
    pub fn status(&self, now: Moment) -> Option<TrialStatus> {
        let trial = self.trial.as_ref()?;
        Some(TrialStatus::of(trial, now))
    }

    /// What was found on this machine, of the builds that are there, for people.
    #[must_use]
    pub fn found(&self, now: Moment) -> Vec<ClassStatus> {
        let Some(here) = &self.here else {
            return Vec::new();
        };
        let counts = |key: &Key| {
            let build = key.scheduler.as_ref();
            key.machine == here.machine
                && key.metric == METRIC_VERSION
                && build.is_none_or(|build| here.builds.get(&build.command) == Some(&build.build))
        };
        let rows = self.table.rows().iter();
        let rows = rows.filter(|row| counts(&row.key));
        let found = rows.map(|row| ClassStatus::of(row, self.at(now)));
        let imported = self.table.imported();
        let imported = imported.filter(|exported| counts(&exported.key));
        found.chain(imported.map(ClassStatus::imported)).collect()
    }

    /// What is known of this scheduler under the load of `class`, as it is here and now, is found by this.
    #[must_use]
    pub fn key(
        &self,
        class: &str,
        goal: Goal,
        scheduler: &Scheduler,
        power: Option<Power>,
        profile: Option<Profile>,
    ) -> Option<Key> {
        let here = self.here.as_deref()?;
        Key::here(here, class, goal, Some(scheduler), power, profile)
    }

    /// Since when the machine, the schedulers' programs, the source of power and its profile are what they are; `None`: they are
    /// not known yet.
    #[must_use]
    pub fn alike_since(&self) -> Option<Moment> {
        self.here.as_ref()?;
        Some(self.alike.as_ref()?.since)
    }

    pub(super) fn knowledge(
        &self,
        power: Option<Power>,
        profile: Option<Profile>,
        now: Moment,
    ) -> Option<Knowledge<'_>> {
        self.epoch?;
        Some(Knowledge {
            table: &self.table,
            here: self.here.as_deref()?,
            power,
            profile,
            at: self.at(now),
        })
    }

    /// The time since 1970.
    pub(super) fn at(&self, now: Moment) -> Duration {
        self.epoch.unwrap_or_default() + now
    }

    pub(super) fn is_lifted(&self, now: Moment) -> bool {
        self.consent
            .is_some_and(|consent| now < consent.lifted_until)
    }
}
