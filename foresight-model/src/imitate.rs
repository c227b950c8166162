//! A teacher for the network, to try the machinery with: a rule with prices, which moves a task if it would wait longer than the
//! move costs. It is no proof that moves do any good: [`crate::value`] is.

use crate::burst::LEVEL;
use crate::fixed::from_q16;
use crate::moves::{AWAY, AWAY_LEVEL, FAULTS, INPUTS, SAME_NODE, SRC_LOAD};

/// What any move costs, in nanoseconds: within a node, and to another.
const MOVE_NS: [f64; 2] = [20_000.0, 60_000.0];
/// What each page costs that has to come along, the same.
const PAGE_NS: [f64; 2] = [300.0, 900.0];
/// How long a task must have been away for half of its memory to have left the cache.
const COOLING_NS: f64 = 4_000_000.0;

/// What a move costs, in nanoseconds.
#[must_use]
pub fn cost_ns(features: &[f64; INPUTS]) -> f64 {
    let node = usize::from(features[SAME_NODE] < 0.5);
    let away_ns = (features[AWAY] + f64::from(AWAY_LEVEL)).exp2();
    let in_cache = COOLING_NS / (COOLING_NS + away_ns);
    let pages = features[FAULTS].exp2() - 1.0;
    MOVE_NS[node] + PAGE_NS[node] * pages * in_cache
}

/// Whether the rule moves the task.
#[must_use]
pub fn moves(features: &[i32; INPUTS]) -> bool {
    let features = features.map(from_q16);
    let wait_ns = (features[SRC_LOAD] + f64::from(LEVEL)).exp2();
    wait_ns > cost_ns(&features)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::ONE;
    use crate::moves::flag;

    fn features(load: i32, faults: i32, away: i32, same_node: bool) -> [i32; INPUTS] {
        let mut features = [0; INPUTS];
        features[SRC_LOAD] = (load - LEVEL) * ONE;
        features[FAULTS] = faults * ONE;
        features[AWAY] = (away - AWAY_LEVEL) * ONE;
        features[SAME_NODE] = flag(same_node);
        features
    }

    #[test]
    fn who_would_wait_long_moves_and_who_would_not_stays() {
        assert!(moves(&features(20, 0, 20, true)));
        assert!(!moves(&features(12, 0, 20, true)));
    }

    #[test]
    fn a_node_a_footprint_and_a_warm_cache_cost() {
        // Some 33 us of waiting.
        assert!(moves(&features(15, 0, 20, true)));
        assert!(!moves(&features(15, 0, 20, false)));
        assert!(!moves(&features(15, 8, 10, true)));
        assert!(moves(&features(15, 8, 26, true)));
    }
}
