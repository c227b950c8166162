//! What trials have shown of pairs, which counts more than what a model says of them, for a day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::{Placement, Scores};

use super::knowledge::Situation;
use super::moment::Moment;

/// How long it is believed.
const BELIEVED: Duration = Duration::from_secs(24 * 3600);
/// Of how many pairs something is remembered.
const MAX_PAIRS: usize = 4096;

/// Two jobs, the one that comes first by name first.
type Pair = (String, String);

/// What pairs were worth, and when that was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Learnt {
    /// Shared, as states are copied more often than anything is learnt.
    pairs: Arc<BTreeMap<Pair, (f64, Moment)>>,
}

impl Learnt {
    /// Learns of a placement in which each group was so many times as fast as it was found.
    pub(super) fn add(
        &mut self,
        situation: &Situation,
        placement: &Placement,
        speeds: &[f64],
        now: Moment,
    ) {
        let pairs = Arc::make_mut(&mut self.pairs);
        let worth = |group: usize| {
            let member = situation.members.get(group)?;
            Some(member.worth(*speeds.get(group)?))
        };
        for core in &placement.cores {
            // Of more than two it is not known who slowed whom.
            let [Some(one), Some(other)] = core[..] else {
                continue;
            };
            let (Some(pair), Some(one), Some(other)) =
                (pair(situation, one, other), worth(one), worth(other))
            else {
                continue;
            };
            pairs.insert(pair, (one + other, now));
        }
        pairs.retain(|_, (_, at)| now.saturating_sub(*at) < BELIEVED);
        while pairs.len() > MAX_PAIRS {
            pairs.pop_first();
        }
    }

    /// What pairings are worth by what was learnt and, of the others, by the model.
    pub(super) fn scores(&self, situation: &Situation, now: Moment) -> Scores {
        situation.scores().with(|one, other| {
            let (worth, at) = self.pairs.get(&pair(situation, one, other)?)?;
            (now.saturating_sub(*at) < BELIEVED).then_some(*worth)
        })
    }
}

fn pair(situation: &Situation, one: usize, other: usize) -> Option<Pair> {
    let job = |at: usize| Some(situation.members.get(at)?.job.clone());
    let (one, other) = (job(one)?, job(other)?);
    Some(if one <= other {
        (one, other)
    } else {
        (other, one)
    })
}
