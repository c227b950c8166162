//! Lines are learned from recorded bursts as they would have been while these happened: each burst is predicted before it is learned
//! from, behind the gate that the kernel has. The last third is scored.

use std::collections::{BTreeMap, HashMap};

use super::lost::{Lost, MIN_HELD_OUT};
use super::recording::Recording;
use crate::burst::{FEATURES, Gate, deviation};
use crate::line::{Group, Learner, Programs, Seen, slot};
use crate::samples::BurstSample;
use crate::score::{Predicted, Scores, Tally};

/// Between refits.
const REFIT_NS: u64 = 500_000_000;
/// Tasks with fewer bursts are not judged one by one.
const MIN_OF_TASK: u64 = 50;
/// How many times the average's error a task's error is that is worse off.
const WORSE: f64 = 1.02;

/// How lines do on bursts that were held out.
#[derive(Clone, Debug, PartialEq)]
pub struct BurstReport {
    /// How many bursts there were.
    pub bursts: u64,
    /// On those that were held out.
    pub scores: Scores,
    /// How many tasks had enough bursts to be judged alone, how many of them are worse off than by the average, and how much
    /// the worst is: as a multiple of the error.
    pub tasks: usize,
    /// The same.
    pub worse: usize,
    /// The same.
    pub worst: f64,
}

/// What was learned of programs.
#[derive(Clone, Debug)]
pub(super) struct Bursts {
    programs: Programs,
    pub(super) report: Option<BurstReport>,
}

/// What was held out, of all tasks and of each, by recording.
#[derive(Default)]
struct HeldOut {
    all: Tally,
    tasks: HashMap<(usize, u32), Tally>,
}

#[derive(Default)]
struct Task {
    gate: Gate,
    line: Option<[i32; FEATURES]>,
}

impl HeldOut {
    fn add(&mut self, recording: usize, burst: &BurstSample, line: Option<i32>) {
        let predicted = Predicted {
            length: burst.y,
            last: burst.last(),
            average: burst.ewma,
            line,
        };
        self.all.add(&predicted);
        let task = self.tasks.entry((recording, burst.pid)).or_default();
        task.add(&predicted);
    }

    fn report(&self, bursts: u64) -> Option<BurstReport> {
        let scores = self.all.scores()?;
        let tasks = self.tasks.values().filter_map(Tally::scores);
        let judged = tasks.filter(|scores| scores.bursts >= MIN_OF_TASK);
        let ratios: Vec<f64> = judged.map(|scores| scores.ratio()).collect();
        Some(BurstReport {
            bursts,
            scores,
            tasks: ratios.len(),
            worse: ratios.iter().filter(|ratio| **ratio > WORSE).count(),
            worst: ratios.iter().copied().fold(0.0, f64::max),
        })
    }
}

impl Bursts {
    /// Learns from recordings. Of what they know of programs, later ones begin with what came of earlier ones.
    pub(super) fn learn(recordings: &[Recording]) -> Self {
        let all: usize = recordings
            .iter()
            .map(|recording| recording.bursts.len())
            .sum();
        let mut programs = Programs::default();
        let mut held_out = HeldOut::default();
        let mut seen = 0;
        for (number, recording) in recordings.iter().enumerate() {
            let mut bursts: Vec<&BurstSample> = recording.bursts.iter().collect();
            bursts.sort_by_key(|burst| burst.at_ns);
            let mut learner = Learner::new(programs, true);
            let mut tasks: HashMap<u32, Task> = HashMap::new();
            let mut next_ns = bursts.first().map_or(0, |burst| burst.at_ns);
            for burst in bursts {
                if burst.at_ns >= next_ns {
                    next_ns = burst.at_ns.saturating_add(REFIT_NS);
                    refit(&mut learner, &mut tasks);
                }
                let task = tasks.entry(burst.pid).or_default();
                let said = task.line.map(|line| deviation(&line, &burst.x));
                if seen >= all / 3 * 2 {
                    held_out.add(number, burst, said.filter(|_| task.gate.is_open()));
                }
                if let Some(said) = said {
                    task.gate.judge(burst.deviation(), said);
                }
                learner.add(&Seen {
                    pid: burst.pid,
                    comm: &burst.comm,
                    features: burst.x,
                    deviation: burst.deviation(),
                });
                seen += 1;
            }
            learner.refit();
            programs = learner.into_programs();
        }
        let report = held_out.report(seen as u64);
        Self { programs, report }
    }

    /// What is remembered of programs, as far as it helps.
    pub(super) fn groups(&self) -> BTreeMap<String, Group> {
        let helpful = self.programs.iter().filter(|(_, group)| group.helps());
        helpful
            .map(|(name, group)| (name.to_owned(), group.clone()))
            .collect()
    }
}

/// Hands lines out, as slots do.
fn refit(learner: &mut Learner, tasks: &mut HashMap<u32, Task>) {
    let mut lines: HashMap<usize, _> = HashMap::new();
    for write in learner.refit() {
        lines.insert(write.slot, write);
    }
    for (pid, task) in tasks.iter_mut() {
        if let Some(write) = lines.get(&slot(*pid)) {
            task.line = write.weights.filter(|_| write.pid == *pid);
        }
    }
}

impl BurstReport {
    /// How it lost, if it did.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        let scores = &self.scores;
        if scores.bursts < MIN_HELD_OUT {
            Some(Lost::FewBursts(scores.bursts))
        } else if scores.predicted.mae < scores.average.mae {
            None
        } else {
            Some(Lost::Bursts {
                line: scores.predicted.mae,
                average: scores.average.mae,
            })
        }
    }
}
