//! The search for plans: from several first ones by exchanges to the best that these lead to.

use super::exchange::improve;
use super::greedy::{fill, start, starts};
use super::place::Placement;
use super::request::{Plan, Request, SAME};
use super::room::Room;

/// From how many of the best pairs a plan is begun, at most, in search of other plans.
const STARTS: usize = 12;
/// The best plans that are found, the best first, their totals apart by more than [`SAME`]; `most` at most. None where there is
/// nothing to choose. One that improves on `found` is among those considered, if that has all workers.
#[must_use]
pub fn plans(request: Request<'_>, found: Option<&Placement>, most: usize) -> Vec<Plan> {
    if Room::of(request.workers, request.threads) != Room::Open {
        return Vec::new();
    }
    let scores = request.scores;
    let empty = scores.empty();
    let mut considered: Vec<Plan> = Vec::new();
    let mut consider = |mut cores: Vec<Vec<usize>>| {
        improve(&mut cores, scores);
        let total = scores.total(&cores);
        let is_new = |other: &Plan| (other.total - total).abs() > SAME * total;
        if considered.iter().all(is_new) {
            let slots = |core: Vec<usize>| {
                let mut slots: Vec<_> = core
                    .into_iter()
                    .map(|slot| (slot != empty).then_some(slot))
                    .collect();
                slots.sort_by_key(|slot| (slot.is_none(), *slot));
                slots
            };
            considered.push(Plan {
                cores: cores.into_iter().map(slots).collect(),
                total,
            });
        }
        considered.len()
    };
    if let Some(cores) = found.and_then(|found| found.slots(request)) {
        consider(cores);
    }
    if request.threads.iter().all(|threads| *threads == 2) {
        let pairs = starts(request);
        for first in 0..pairs.len().min(STARTS) {
            if consider(start(request, &pairs, first)) >= most {
                break;
            }
        }
    } else {
        consider(fill(request));
    }
    considered.sort_by(|one, other| other.total.total_cmp(&one.total));
    considered.truncate(most);
    considered
}
