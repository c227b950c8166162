//! In which order turns are made: a fair coin says which of a pair comes first, and the challengers take turns.
//!
//! The coin is what the evidence rests on. Where two schedulers are equal it makes the sign of each pair's ratio a coin's
//! too, however the machine gets slower or faster meanwhile.

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// What challengers are compared with.
    Incumbent,
    /// The challenger with this number, from 0.
    Challenger(usize),
}

/// Two turns that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The number of the challenger, from 0.
    pub challenger: usize,
    /// Whether its turn is the first.
    pub challenger_first: bool,
}

impl Pair {
    /// The turns in their order.
    #[must_use]
    pub fn turns(self) -> [Arm; 2] {
        let turns = [Arm::Incumbent, Arm::Challenger(self.challenger)];
        if self.challenger_first {
            [turns[1], turns[0]]
        } else {
            turns
        }
    }
}

/// The order of the pairs. The same seed gives the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    coin: fastrand::Rng,
    challengers: usize,
    next: usize,
}

impl Plan {
    /// A plan for so many challengers.
    #[must_use]
    pub fn new(seed: u64, challengers: usize) -> Self {
        Self {
            coin: fastrand::Rng::with_seed(seed),
            challengers,
            next: 0,
        }
    }

    /// The next pair, of the next challenger that `is_open`, of which more is to be known; `None` when there is none.
    pub fn next(&mut self, is_open: impl Fn(usize) -> bool) -> Option<Pair> {
        let after = (0..self.challengers).map(|step| (self.next + step) % self.challengers);
        let challenger = after.into_iter().find(|challenger| is_open(*challenger))?;
        self.next = challenger + 1;
        Some(Pair {
            challenger,
            challenger_first: self.coin.bool(),
        })
    }

    /// How many times the scheduler changes in the next so many pairs of each challenger, `from` what runs before them, if
    /// none of them is decided earlier.
    #[must_use]
    pub fn changes(&self, pairs_each: usize, from: Arm) -> usize {
        let mut plan = self.clone();
        let pairs = (0..pairs_each * self.challengers).filter_map(|_| plan.next(|_| true));
        let turns: Vec<Arm> = pairs.flat_map(Pair::turns).collect();
        let before = std::iter::once(&from).chain(&turns);
        before.zip(&turns).filter(|(a, b)| a != b).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challengers_take_turns_until_they_are_decided() {
        let mut plan = Plan::new(1, 3);
        let mut next = |open: &[usize]| {
            let pair = plan.next(|challenger| open.contains(&challenger));
            pair.map(|pair| pair.challenger)
        };
        let all = [0, 1, 2];
        let order: Vec<_> = (0..4).map(|_| next(&all)).collect();
        assert_eq!(order, [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!([next(&[0, 2]), next(&[0, 2])], [Some(2), Some(0)]);
        assert_eq!(next(&[]), None);
        assert_eq!(Plan::new(1, 0).next(|_| true), None);
    }

    #[test]
    fn the_coin_is_fair_and_of_its_seed() {
        let toss = |seed| {
            let mut plan = Plan::new(seed, 1);
            let mut first = || plan.next(|_| true).unwrap().challenger_first;
            (0..10_000).map(|_| first()).collect::<Vec<bool>>()
        };
        let tosses = toss(7);
        let first = tosses.iter().filter(|first| **first).count();
        // Five standard deviations.
        assert!((4750..5250).contains(&first), "{first}");
        let after_first = tosses.windows(2).filter(|two| two[0] && two[1]).count();
        assert!((2250..2750).contains(&after_first), "{after_first}");
        assert_eq!(toss(7), tosses);
        assert_ne!(toss(8), tosses);
    }

    #[test]
    fn changes_are_counted_as_the_turns_come() {
        let plan = Plan::new(3, 2);
        let mut left = plan.clone();
        let mut now = Arm::Challenger(1);
        let mut changes = 0;
        for _ in 0..20 {
            for arm in left.next(|_| true).unwrap().turns() {
                changes += usize::from(arm != now);
                now = arm;
            }
        }
        assert_eq!(plan.changes(10, Arm::Challenger(1)), changes);
        assert_eq!(plan.changes(0, Arm::Incumbent), 0);
    }
}
