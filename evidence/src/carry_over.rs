//! Whether turns still show the scheduler before them: what it left in queues and caches makes the first half of a turn look more like
//! the turn before than its second half does.
//!
//! Owns for how long a scheduler settles before its turn is measured. That is longer where pairs say so, and never shorter again: too long costs
//! time, too short makes differences look smaller than they are. The order of a coin keeps either from making up a difference.

use std::time::Duration;

/// For how long a scheduler settles: first, and then where the one before still shows.
pub const SETTLE: [Duration; 3] = [
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(8),
];

/// How many pairs are looked at, at least.
const FEWEST_PAIRS: usize = 4;
/// By how much the halves differ, at least, as a logarithm, and how many times as much as by chance.
const LEAST_REST: f64 = 0.02;
const TIMES_CHANCE: f64 = 3.0;

/// Whether the other scheduler still shows in the first halves of these pairs, of which each has the logarithms of the ratios of
/// the first halves of its turns, and of the second halves: the first ones differ by less.
#[must_use]
pub fn still_shows(halves: &[[f64; 2]]) -> bool {
    if halves.len() < FEWEST_PAIRS {
        return false;
    }
    let more = || {
        halves
            .iter()
            .map(|[first, second]| (second - first) * (first + second).signum())
    };
    // No comparison has so many that this is not exact.
    let count = halves.len() as f64;
    let mean = more().sum::<f64>() / count;
    let variance = more().map(|more| (more - mean).powi(2)).sum::<f64>() / (count - 1.0);
    mean > LEAST_REST && mean > TIMES_CHANCE * (variance / count).sqrt()
}

/// For how long a scheduler settles, by the pairs so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settling {
    step: usize,
    /// Those since it is that long.
    halves: Vec<[f64; 2]>,
}

impl Settling {
    /// For how long now.
    #[must_use]
    pub fn time(&self) -> Duration {
        SETTLE[self.step.min(SETTLE.len() - 1)]
    }

    /// Adds the logarithms of the ratios of the halves of a pair. Says whether it is longer from now on.
    pub fn add(&mut self, halves: [f64; 2]) -> bool {
        self.halves.push(halves);
        let grows = self.step + 1 < SETTLE.len() && still_shows(&self.halves);
        if grows {
            self.step += 1;
            self.halves.clear();
        }
        grows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(halves: [f64; 2], pairs: usize) -> Duration {
        let mut settling = Settling::default();
        for n in 0..pairs {
            let wobble = if n % 2 == 0 { 0.01 } else { -0.01 };
            settling.add([halves[0] + wobble, halves[1] - wobble]);
        }
        settling.time()
    }

    #[test]
    fn it_grows_while_first_halves_differ_by_less_than_second_ones_whoever_is_better() {
        assert_eq!(after([0.2, 0.2], 30), SETTLE[0]);
        assert_eq!(after([0.3, 0.1], 30), SETTLE[0]);
        for halves in [[0.1, 0.3], [-0.1, -0.3]] {
            assert_eq!(after(halves, FEWEST_PAIRS - 1), SETTLE[0]);
            assert_eq!(after(halves, FEWEST_PAIRS), SETTLE[1]);
            assert_eq!(after(halves, 2 * FEWEST_PAIRS), SETTLE[2]);
            assert_eq!(after(halves, 30), SETTLE[2]);
        }
    }

    #[test]
    fn what_is_of_no_account_or_within_chance_says_nothing() {
        assert!(!still_shows(&[]));
        assert!(!still_shows(&[[0.1, 0.11]; 30]));
        let wild = [[0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.5, 0.5]];
        assert!(!still_shows(&wild));
    }
}
