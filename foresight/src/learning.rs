//! What is learned of bursts while the scheduler runs: each task's line, how well all of them predict, and whether they count.

use std::collections::VecDeque;

use foresight_model::line::{Fit, Learner, Programs, Seen, Write};

use crate::gate::Gate;
use crate::options::Mode;
use crate::sample::Sample;
use crate::scores::Scores;

/// By how much less a burst counts after each refit in what the gate goes by.
const KEEP: f64 = 0.9;
/// How many of the last bursts are remembered, for whoever asks about one task.
const REMEMBERED: usize = 4096;

/// All of it.
pub(crate) struct Learning {
    mode: Mode,
    learner: Learner,
    gate: Gate,
    acting: bool,
    recent: Scores,
    total: Scores,
    last: VecDeque<Sample>,
}

impl Learning {
    /// Knows this of programs, with which their tasks begin if `takes_priors`; `None` in a mode that learns nothing.
    pub(crate) fn new(mode: Mode, programs: Programs, takes_priors: bool) -> Option<Self> {
        (mode != Mode::Baseline).then(|| Self {
            mode,
            learner: Learner::new(programs, takes_priors),
            gate: Gate::default(),
            acting: mode == Mode::Act,
            recent: Scores::default(),
            total: Scores::default(),
            last: VecDeque::with_capacity(REMEMBERED),
        })
    }

    /// Judges predictions by a burst, and learns from it.
    pub(crate) fn take(&mut self, sample: Sample) {
        self.recent.add(&sample);
        self.total.add(&sample);
        self.learner.add(&Seen {
            pid: sample.pid,
            comm: &sample.name,
            features: sample.features,
            deviation: sample.residual(),
        });
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(sample);
    }

    /// Ends a period: returns what of the lines changes.
    pub(crate) fn refit(&mut self) -> Vec<Write> {
        if self.mode == Mode::Auto {
            self.acting = self.gate.judge(&self.recent);
        }
        self.recent.keep(KEEP);
        self.learner.refit()
    }

    /// Whether lines count.
    pub(crate) fn acting(&self) -> bool {
        self.acting
    }

    /// How well bursts were predicted of late, and over all.
    pub(crate) fn scores(&self) -> (&Scores, &Scores) {
        (&self.recent, &self.total)
    }

    /// How many tasks are learned from, and how many of them have a line that may be used.
    pub(crate) fn tasks(&self) -> (usize, usize) {
        let tasks = self.learner.tasks();
        tasks.fold((0, 0), |(all, lines), (_, _, fit)| {
            (all + 1, lines + usize::from(fit.is_published()))
        })
    }

    /// What is remembered of programs.
    pub(crate) fn programs(&self) -> &Programs {
        self.learner.programs()
    }

    /// What is known of one task.
    pub(crate) fn fit(&self, pid: u32) -> Option<&Fit> {
        self.learner.fit(pid)
    }

    /// Its last bursts that are remembered, the latest first.
    pub(crate) fn last(&self, pid: u32) -> impl Iterator<Item = &Sample> {
        let latest_first = self.last.iter().rev();
        latest_first.filter(move |sample| sample.pid == pid)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use foresight_model::fixed::ONE;

    use super::*;
    use crate::sample::tests::sample;

    /// In this mode, without any knowledge.
    pub(crate) fn learning(mode: Mode) -> Option<Learning> {
        Learning::new(mode, Programs::default(), true)
    }

    /// Bursts that are by turns twice and half as long as the average, of which the line says so or nothing.
    fn period(learning: &mut Learning, has_line: bool) -> Vec<Write> {
        for burst in 0..200 {
            let deviation = if burst % 2 == 0 { ONE } else { -ONE };
            let mut burst = sample(7, has_line.then_some(deviation), has_line);
            burst.length = burst.average + deviation;
            burst.features[1] = -deviation;
            learning.take(burst);
        }
        learning.refit()
    }

    #[test]
    fn what_repeats_gets_a_line_which_counts_once_it_has_proven_itself() {
        let mut learning = learning(Mode::Auto).unwrap();
        let writes = (0..3).map(|_| period(&mut learning, false)).last().unwrap();
        let weights = writes[0].weights.unwrap();
        assert!((weights[1] + ONE).abs() < ONE / 10, "{weights:?}");
        assert_eq!((learning.tasks(), learning.acting()), ((1, 1), false));
        for _ in 0..10 {
            period(&mut learning, true);
        }
        assert!(learning.acting());
        assert!(learning.fit(7).is_some() && learning.fit(8).is_none());
        assert_eq!(learning.last(7).count(), 13 * 200);
    }

    #[test]
    fn a_shadow_never_counts_and_who_is_told_to_act_does_at_once() {
        let mut shadow = learning(Mode::Shadow).unwrap();
        (0..10).for_each(|_| drop(period(&mut shadow, true)));
        assert!(!shadow.acting());
        assert!(learning(Mode::Act).unwrap().acting());
        assert!(learning(Mode::Baseline).is_none());
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let mut learning = learning(Mode::Shadow).unwrap();
        for _ in 0..=REMEMBERED {
            learning.take(sample(1, None, false));
        }
        assert_eq!(learning.last(1).count(), REMEMBERED);
    }
}
