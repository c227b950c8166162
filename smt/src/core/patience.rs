//! How long to wait before the same jobs are tried again: what was in vain doubles it, over restarts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::moment::Moment;

/// Some jobs, by their names.
pub type Jobs = BTreeSet<String>;

/// The first pause and the longest one, in seconds.
const FIRST: u64 = 3600;
const LONGEST: u64 = 24 * 3600;
/// How many sets of jobs are remembered.
const MAX_SETS: usize = 256;

/// A set of jobs that was tried in vain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fruitless {
    /// Which.
    pub jobs: Jobs,
    /// How often in a row.
    pub times: u32,
    /// When it may be tried again, in seconds since the boot.
    pub until: u64,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Patience {
    sets: Vec<Fruitless>,
}

impl Patience {
    /// Those of before. What says more than was ever written is cut.
    pub(super) fn remember(&mut self, mut sets: Vec<Fruitless>, now: Moment) {
        sets.truncate(MAX_SETS);
        for set in &mut sets {
            // The machine was started anew, so that its clock began anew.
            set.until = set.until.min(now.as_secs() + LONGEST);
        }
        self.sets = sets;
    }

    /// When these may be tried again.
    pub(super) fn until(&self, jobs: &Jobs) -> Option<Moment> {
        let set = self.sets.iter().find(|set| set.jobs == *jobs)?;
        Some(Moment::from_secs(set.until))
    }

    /// These were tried in vain.
    pub(super) fn add(&mut self, jobs: Jobs, now: Moment) {
        let place = self.sets.iter().position(|set| set.jobs == jobs);
        let times = place.map_or(0, |at| self.sets.remove(at).times) + 1;
        let doubled = FIRST.saturating_mul(1 << (times - 1).min(16));
        self.sets.push(Fruitless {
            jobs,
            times,
            until: now.as_secs() + doubled.min(LONGEST),
        });
        if self.sets.len() > MAX_SETS {
            self.sets.remove(0);
        }
    }

    /// These were not in vain after all.
    pub(super) fn forget(&mut self, jobs: &Jobs) {
        self.sets.retain(|set| set.jobs != *jobs);
    }

    pub(super) fn sets(&self) -> Vec<Fruitless> {
        self.sets.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_a_day_and_is_of_these_jobs_alone() {
        let mut patience = Patience::default();
        let jobs = Jobs::from(["a".to_owned()]);
        let hours: Vec<u64> = (0..7)
            .map(|_| {
                patience.add(jobs.clone(), Moment::ZERO);
                patience.until(&jobs).unwrap().as_secs() / 3600
            })
            .collect();
        assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24]);
        assert_eq!(patience.until(&Jobs::new()), None);
        patience.forget(&jobs);
        assert_eq!(patience.until(&jobs), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let set = |number: usize| Fruitless {
            jobs: Jobs::from([number.to_string()]),
            times: 40,
            until: u64::MAX,
        };
        let mut patience = Patience::default();
        patience.remember((0..1000).map(set).collect(), Moment::from_secs(5));
        assert_eq!(patience.sets().len(), MAX_SETS);
        assert_eq!(patience.sets()[0].until, 5 + LONGEST);
        patience.add(Jobs::from(["0".to_owned()]), Moment::ZERO);
        assert_eq!(
            patience
                .until(&Jobs::from(["0".to_owned()]))
                .unwrap()
                .as_secs(),
            LONGEST
        );
    }
}
