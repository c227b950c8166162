//! What each pairing of groups is worth, as a table.

/// What it is worth that a worker of one group shares a core with one of another, or has it for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    groups: usize,
    /// One row and column for each group and, last, for an empty hardware thread.
    table: Vec<f64>,
}

impl Scores {
    /// Of so many groups. `pair` says what two workers are worth on a core, of groups by their numbers, of which the first is
    /// not greater; `alone` what one is worth that has it for itself.
    #[must_use]
    pub fn new(
        groups: usize,
        mut pair: impl FnMut(usize, usize) -> f64,
        mut alone: impl FnMut(usize) -> f64,
    ) -> Self {
        let side = groups + 1;
        let mut table = vec![0.0; side * side];
        for one in 0..groups {
            for other in one..=groups {
                let score = if other == groups {
                    alone(one)
                } else {
                    pair(one, other)
                };
                table[one * side + other] = score;
                table[other * side + one] = score;
            }
        }
        Self { groups, table }
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// What two groups are worth on a core, by their numbers; as many as there are groups stands for none.
    #[must_use]
    pub fn pair(&self, one: usize, other: usize) -> f64 {
        self.table[one * (self.groups + 1) + other]
    }

    /// What stands for no group.
    pub(super) fn empty(&self) -> usize {
        self.groups
    }

    /// What a core is worth: the sum over its pairs, so that one alone is worth the same whatever the number of hardware
    /// threads. Of more than two this is an approximation.
    pub(super) fn core(&self, core: &[usize]) -> f64 {
        if let [one, other] = core {
            return self.pair(*one, *other);
        }
        let with_others = core.iter().enumerate().map(|(at, one)| {
            let others = core[at + 1..].iter();
            others.map(|other| self.pair(*one, *other)).sum::<f64>()
        });
        with_others.sum::<f64>() / (core.len() as f64 - 1.0).max(1.0)
    }

    /// What such cores are worth.
    pub(super) fn total(&self, cores: &[Vec<usize>]) -> f64 {
        cores.iter().map(|core| self.core(core)).sum()
    }

    /// What a placement is worth on average that spreads workers over cores and else leaves it to chance who shares one, as the
    /// kernel does.
    #[must_use]
    pub fn by_chance(&self, workers: &[u32], cores: usize) -> f64 {
        let all: f64 = workers.iter().copied().map(f64::from).sum();
        let (mut pairs, mut alone) = (0.0, 0.0);
        for (one, of_one) in workers.iter().copied().map(f64::from).enumerate() {
            alone += of_one * self.pair(one, self.groups);
            for (other, of_other) in workers.iter().copied().map(f64::from).enumerate() {
                let left = of_other - if one == other { 1.0 } else { 0.0 };
                pairs += of_one * left * self.pair(one, other);
            }
        }
        let shared = (all - cores as f64).max(0.0);
        let of_pair = pairs / (all * (all - 1.0)).max(1.0);
        shared * of_pair + (all - 2.0 * shared).max(0.0) * alone / all.max(1.0)
    }

    /// The same, but for pairs of which something better is known, by the numbers of groups.
    #[must_use]
    pub fn with(&self, better: impl Fn(usize, usize) -> Option<f64>) -> Self {
        let pair = |one, other| better(one, other).unwrap_or_else(|| self.pair(one, other));
        Self::new(self.groups, pair, |one| self.pair(one, self.groups))
    }
}
