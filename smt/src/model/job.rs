//! A job as a model sees it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::characteristics::Characteristics;
use super::resource::Resource;

/// What is known of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its instructions per cycle alone on a core.
    pub solo: f64,
    /// How many times as fast as that it is while the other cores load the last cache.
    pub scale: f64,
    /// What it makes of each resource.
    pub characteristics: BTreeMap<Resource, Characteristics>,
}

impl Job {
    /// How much slower it gets beside any other thread at all; `None` while nothing is known.
    #[must_use]
    pub fn base_slowdown(&self) -> Option<f64> {
        let all = self.characteristics.values();
        all.map(|one| one.base_slowdown).reduce(f64::min)
    }
}
