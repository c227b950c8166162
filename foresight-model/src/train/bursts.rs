//! Lines are learned from recorded bursts as they would have been while these happened: each burst is predicted before it is learned
//! from, behind the gate that the kernel has. The last third is scored.

use std::collections::{BTreeMap, HashMap};

use super::lost::{Lost, MIN_HELD_OUT};
use super::recording::Recording;
use crate::burst::{FEATURES, Gate, deviation};
use crate::fixed::from_q16;
use crate::line::{Group, Learner, Programs, Seen, slot};
use crate::samples::BurstSample;

/// Between refits.
const REFIT_NS: u64 = 500_000_000;
/// Tasks with fewer bursts are not judged one by one.
const MIN_OF_TASK: u64 = 50;
/// How many times the average's error a task's error is that is worse off.
const WORSE: f64 = 1.02;

/// How well something predicts, in log2 of nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The share of the variance that it explains; below 0, it is worse than always saying the mean.
    pub r2: f64,
    /// The mean absolute error.
    pub mae: f64,
}

/// How lines do on bursts that were held out.
#[derive(Clone, Debug, PartialEq)]
pub struct BurstReport {
    /// How many bursts there were, and how many of them were held out.
    pub bursts: u64,
    /// The same.
    pub held_out: u64,
    /// Of taking the last burst for the next.
    pub last: Score,
    /// Of the average alone.
    pub average: Score,
    /// Of lines, where the gate lets them.
    pub line: Score,
    /// For which share of bursts it does.
    pub used: f64,
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

#[derive(Clone, Copy, Default)]
struct Sums {
    absolute: f64,
    squared: f64,
}

#[derive(Default)]
struct Scores {
    held_out: u64,
    sum: f64,
    squares: f64,
    last: Sums,
    average: Sums,
    line: Sums,
    used: u64,
    /// By recording and task: bursts, the errors of the average and of what was predicted.
    tasks: HashMap<(usize, u32), (u64, [f64; 2])>,
}

#[derive(Default)]
struct Task {
    gate: Gate,
    line: Option<[i32; FEATURES]>,
}

impl Sums {
    fn add(&mut self, error: f64) {
        self.absolute += error.abs();
        self.squared += error * error;
    }
}

impl Scores {
    fn add(&mut self, recording: usize, burst: &BurstSample, said: Option<i32>) {
        let (length, deviation) = (from_q16(burst.y), from_q16(burst.deviation()));
        let predicted = deviation - from_q16(said.unwrap_or_default());
        self.held_out += 1;
        self.used += u64::from(said.is_some());
        self.sum += length;
        self.squares += length * length;
        self.last.add(length - from_q16(burst.last()));
        self.average.add(deviation);
        self.line.add(predicted);
        let task = self.tasks.entry((recording, burst.pid)).or_default();
        task.0 += 1;
        task.1[0] += deviation.abs();
        task.1[1] += predicted.abs();
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer bursts are read")]
    fn report(&self, bursts: u64) -> BurstReport {
        let count = self.held_out as f64;
        let variance = self.squares - self.sum * self.sum / count;
        let score = |sums: Sums| Score {
            r2: 1.0 - sums.squared / variance,
            mae: sums.absolute / count,
        };
        let judged = self
            .tasks
            .values()
            .filter(|(count, _)| *count >= MIN_OF_TASK);
        // Of who is always right, nobody is worse.
        let ratios: Vec<f64> = judged
            .map(|(_, [average, line])| line / average.max(f64::MIN_POSITIVE))
            .collect();
        BurstReport {
            bursts,
            held_out: self.held_out,
            last: score(self.last),
            average: score(self.average),
            line: score(self.line),
            used: self.used as f64 / count,
            tasks: ratios.len(),
            worse: ratios.iter().filter(|ratio| **ratio > WORSE).count(),
            worst: ratios.iter().copied().fold(0.0, f64::max),
        }
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
        let mut scores = Scores::default();
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
                    scores.add(number, burst, said.filter(|_| task.gate.is_open()));
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
        let report = (scores.held_out > 0).then(|| scores.report(seen as u64));
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
        if self.held_out < MIN_HELD_OUT {
            Some(Lost::FewBursts(self.held_out))
        } else if self.line.mae < self.average.mae {
            None
        } else {
            Some(Lost::Bursts {
                line: self.line.mae,
                average: self.average.mae,
            })
        }
    }
}
