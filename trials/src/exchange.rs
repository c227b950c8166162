//! What was found, for other machines of the same kind: there it says in which order challengers are tried, and nothing more.

use auto_ext_policy::Scheduler;
use serde::{Deserialize, Serialize};

use crate::key::{Here, Key, MAX_RECORDS};
use crate::record::Closed;
use crate::yardstick::METRIC_VERSION;

/// The version of what is exported.
const VERSION: u32 = 1;

/// What one machine found, as it is given to others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Export(Vec<Exported>);

/// What was found of one scheduler under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// What it is about, and on which machine it was found.
    #[serde(flatten)]
    pub key: Key,
    /// How many times as good it was, as a logarithm.
    pub effect: f64,
    /// By so many pairs.
    pub pairs: u32,
    /// Whether it was proven to be better there.
    pub is_proven: bool,
    /// Why it was not tried any more there.
    pub closed: Option<Closed>,
}

/// An export in a file.
#[derive(Serialize, Deserialize)]
struct Stored {
    export: u32,
    records: Vec<Exported>,
}

/// Why a file is no export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It is of another version.
    #[error("version {0} of exports is not known")]
    Version(u32),
    /// There are more records than any machine has.
    #[error("{0} records are more than any machine has")]
    TooMany(usize),
    /// A record, counted from 0, has numbers or texts that none can have, or is about no scheduler.
    #[error("`records[{0}]` makes no sense")]
    Record(usize),
}

impl Export {
    /// Of what a machine found itself.
    pub(crate) fn of(found: Vec<Exported>) -> Self {
        Self(found)
    }

    /// What it says.
    #[must_use]
    pub fn records(&self) -> &[Exported] {
        &self.0
    }

    /// What it says of machines like this one, with the builds that are here.
    pub(crate) fn for_machine(self, here: &Here) -> impl Iterator<Item = Exported> {
        self.0.into_iter().filter(|exported| {
            let key = &exported.key;
            let build = key.scheduler.as_ref();
            key.machine == here.machine
                && key.metric == METRIC_VERSION
                && build.is_some_and(|build| here.builds.get(&build.command) == Some(&build.build))
        })
    }
}

impl Exported {
    /// Whether it is about this scheduler, with its arguments, under the load of this class.
    pub(crate) fn is_about(&self, class: &str, scheduler: &Scheduler) -> bool {
        let build = self.key.scheduler.as_ref();
        self.key.class == class && build.is_some_and(|build| build.is_of(scheduler))
    }

    /// What somebody kept, if it can be.
    pub(crate) fn is_sound(&self) -> bool {
        self.key.is_sound() && self.key.scheduler.is_some() && self.effect.is_finite()
    }
}

impl TryFrom<Stored> for Export {
    type Error = ExportError;

    fn try_from(stored: Stored) -> Result<Self, ExportError> {
        if stored.export != VERSION {
            return Err(ExportError::Version(stored.export));
        }
        if stored.records.len() > MAX_RECORDS {
            return Err(ExportError::TooMany(stored.records.len()));
        }
        let is_wrong = |exported: &Exported| !exported.is_sound();
        match stored.records.iter().position(is_wrong) {
            Some(wrong) => Err(ExportError::Record(wrong)),
            None => Ok(Self(stored.records)),
        }
    }
}

impl From<Export> for Stored {
    fn from(Export(records): Export) -> Self {
        Self {
            export: VERSION,
            records,
        }
    }
}
