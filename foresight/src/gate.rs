//! Whether predictions by lines count, or are only watched: once they do better than averages over all tasks, until they no
//! longer do. Which line is used for a task that has one is decided for each by itself, in the BPF programs.

use crate::scores::Scores;

/// How many bursts it takes to judge.
const MIN_BURSTS: f64 = 1000.0;
/// Lines count once their error is at most this share of that of averages...
const PASS: f64 = 0.95;
/// ... and no longer when it is more than this. Between them all stays as it is.
const FAIL: f64 = 0.99;

/// The gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    open: bool,
}

impl Gate {
    /// Whether lines count, by what is known of bursts of late.
    pub(crate) fn judge(&mut self, recent: &Scores) -> bool {
        if let Some(ratio) = recent.ratio().filter(|_| recent.bursts() >= MIN_BURSTS) {
            if ratio <= PASS {
                self.open = true;
            } else if ratio > FAIL {
                self.open = false;
            }
        }
        self.open
    }
}

#[cfg(test)]
mod tests {
    use foresight_model::fixed::ONE;

    use super::*;
    use crate::sample::tests::sample;

    /// So many bursts, of which lines took away this share of the error.
    fn scores(bursts: u32, share: i32) -> Scores {
        let mut scores = Scores::default();
        for _ in 0..bursts {
            scores.add(&sample(1, Some(ONE / 100 * share), true));
        }
        scores
    }

    #[test]
    fn it_opens_where_lines_do_clearly_better_and_closes_where_they_no_longer_do() {
        let mut gate = Gate::default();
        assert!(!gate.judge(&scores(1000, 2)));
        assert!(gate.judge(&scores(1000, 10)));
        assert!(gate.judge(&scores(1000, 2)));
        assert!(!gate.judge(&scores(1000, -10)));
    }

    #[test]
    fn a_few_bursts_change_nothing() {
        let mut gate = Gate::default();
        assert!(!gate.judge(&scores(999, 50)));
        assert!(gate.judge(&scores(1000, 50)));
        assert!(gate.judge(&scores(999, -50)));
        assert!(gate.judge(&Scores::default()));
    }
}
