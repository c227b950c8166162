//! What a record is about, and on which machine it was found.

use std::collections::BTreeMap;

use auto_ext_policy::{Goal, Power, Profile, Scheduler};
use serde::{Deserialize, Serialize};

use crate::record::MAX_TEXT;
use crate::yardstick::METRIC_VERSION;

/// How many records are kept; of more, those are forgotten that had no pair for the longest time.
pub const MAX_RECORDS: usize = 512;

/// What a record is about. With any other of these the evidence begins anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The class of the load.
    pub class: String,
    /// What is better.
    pub goal: Goal,
    /// The challenger; `None`: the kernel's own, compared with itself to tell how noisy the load is.
    pub scheduler: Option<Build>,
    /// What it is compared with; `None`: the kernel's own.
    pub opponent: Option<Build>,
    /// The machine.
    #[serde(flatten)]
    pub machine: Machine,
    /// Where its power came from.
    pub power: Option<Power>,
    /// The power profile.
    pub profile: Option<Profile>,
    /// The version of what was measured.
    pub metric: u32,
}

/// A scheduler as it was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its program, as in policies.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Which build of the program, such as a hash of it.
    pub build: String,
}

/// What of a machine a scheduler depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The model of the processor.
    pub cpu: String,
    /// How many CPUs are online.
    pub cpus: u32,
    /// Whether cores have several threads.
    pub smt: bool,
}

/// This machine, and the builds of the schedulers' programs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// The machine.
    pub machine: Machine,
    /// The builds of programs, as policies name them. A scheduler whose build is not known is not tried.
    pub builds: BTreeMap<String, String>,
}

impl Key {
    /// What is learned on this machine of `scheduler` (`None`: the kernel's own) against the kernel's own.
    #[must_use]
    pub fn here(
        here: &Here,
        class: &str,
        goal: Goal,
        scheduler: Option<&Scheduler>,
        power: Option<Power>,
        profile: Option<Profile>,
    ) -> Option<Self> {
        let scheduler = match scheduler {
            None => None,
            Some(scheduler) => Some(Build {
                command: scheduler.command.clone(),
                args: scheduler.args.clone(),
                build: here.builds.get(&scheduler.command)?.clone(),
            }),
        };
        Some(Self {
            class: class.to_owned(),
            goal,
            scheduler,
            opponent: None,
            machine: here.machine.clone(),
            power,
            profile,
            metric: METRIC_VERSION,
        })
    }

    pub(crate) fn is_sound(&self) -> bool {
        let builds = self.scheduler.iter().chain(&self.opponent);
        let texts =
            builds.flat_map(|build| build.args.iter().chain([&build.command, &build.build]));
        let own = [&self.class, &self.machine.kernel, &self.machine.cpu];
        let mut texts = texts.chain(own);
        texts.all(|text| text.len() <= MAX_TEXT && !text.contains(char::is_control))
    }
}

impl Build {
    /// Whether it is this program with these arguments, in whichever build.
    #[must_use]
    pub fn is_of(&self, scheduler: &Scheduler) -> bool {
        self.command == scheduler.command && self.args == scheduler.args
    }
}
