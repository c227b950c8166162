//! What is remembered of trials, and what they are told and say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auto_ext_evidence::Plan;
use auto_ext_policy::{Candidate, Policy, Power, Profile, Scheduler};
use serde::{Deserialize, Serialize};

use crate::key::Here;
use crate::moment::Moment;
use crate::pair::PairRecord;
use crate::quiet::{Unquiet, Waits};
use crate::table::Table;
use crate::trial::{Trial, TrialEnd};
use crate::turn::Done;

/// What somebody consents to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Until when.
    pub until: Moment,
    /// Until when the shares of the budget do not count.
    pub lifted_until: Moment,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Begin or end to measure outcomes, and report a reading each second.
    Measure(bool),
    /// Keep this pair.
    KeepPair(Box<PairRecord>),
    /// Keep the table, which is not what it was.
    KeepTable,
    /// Tell people that a trial has ended.
    TrialEnded(Box<TrialEnd>),
}

/// How things stand, as far as it matters to trials.
pub struct Situation<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The class of the load, and since when it is that.
    pub class: &'a str,
    /// See `class`.
    pub class_since: Moment,
    /// What is to run; `None` while that is what the last trial wanted.
    pub desired: Option<&'a Candidate>,
    /// What runs.
    pub runs: &'a Candidate,
    /// A switch is on its way.
    pub is_switching: bool,
    /// What is to run runs, and may be replaced.
    pub is_settled: bool,
    /// What is in the way of a trial, as far as the decisions know.
    pub unquiet: Vec<Unquiet>,
    /// Whether a scheduler can be started.
    pub can_run: &'a dyn Fn(&Scheduler) -> bool,
    /// Where the power comes from.
    pub power: Option<Power>,
    /// The power profile.
    pub profile: Option<Profile>,
    /// How many switches the policy's limit leaves for this hour.
    pub switches_left: usize,
}

/// All that is remembered of trials.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trials {
    pub(super) table: Arc<Table>,
    /// The time since 1970 at the moment zero, once the table is there.
    pub(super) epoch: Option<Duration>,
    pub(super) here: Option<Arc<Here>>,
    pub(super) alike: Option<Alike>,
    pub(super) coin: Option<Plan>,
    pub(super) consent: Option<Consent>,
    /// What is in the way as far as others know; `None`: they have not said.
    pub(super) others_unquiet: Option<Vec<Unquiet>>,
    pub(super) quiet_since: Option<Moment>,
    /// What is in the way, when that was last looked at.
    pub(super) unquiet: Vec<Unquiet>,
    /// Why no trial began, when one was last due.
    pub(super) waits: Option<Waits>,
    pub(super) trial: Option<Box<Trial>>,
    pub(super) done: Option<Done>,
    /// The candidate of which nothing is proven that runs.
    pub(super) exposed: Option<Scheduler>,
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) measures: bool,
    pub(super) deeds: Vec<Deed>,
}

/// How the machine is powered, and since when that and the machine are what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alike {
    pub(super) power: Option<Power>,
    pub(super) profile: Option<Profile>,
    pub(super) since: Moment,
}

/// When a class may have its next trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) next: Moment,
    /// How many there were, or could have been.
    pub(super) count: u32,
    /// In the last one enough tasks slept and were woken.
    pub(super) with_sleepers: Option<bool>,
}

/// What may be done in a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// To tell the noise, and nothing more.
    Noise,
    /// To try what is open.
    Challenger,
    /// To have what is proven meet the kernel's own again.
    Recheck,
}
