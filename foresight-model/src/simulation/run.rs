//! Tasks side by side, refits between their bursts, and how well each was predicted.

use super::source::{Kind, Source};
use crate::burst::{FEATURES, Task, deviation};
use crate::fixed::from_q16;
use crate::line::{Equations, Learner, Programs, RIDGE, Seen, slot};

/// Between refits.
const REFIT_NS: u64 = 500_000_000;

/// How well one task was predicted, in log2 of nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Score {
    count: f64,
    sum: f64,
    squares: f64,
    /// Of the average and of what was predicted: absolute and squared errors.
    absolute: [f64; 2],
    squared: [f64; 2],
}

impl Score {
    fn add(&mut self, length: f64, errors: [f64; 2]) {
        self.count += 1.0;
        self.sum += length;
        self.squares += length * length;
        for (which, error) in errors.into_iter().enumerate() {
            self.absolute[which] += error.abs();
            self.squared[which] += error * error;
        }
    }

    /// How much of the variance the average explains, and what was predicted.
    pub(super) fn r2(&self) -> [f64; 2] {
        let variance = self.squares - self.sum * self.sum / self.count;
        self.squared.map(|squared| 1.0 - squared / variance)
    }

    /// The error of what was predicted, as a multiple of the average's.
    pub(super) fn ratio(&self) -> f64 {
        self.absolute[1] / self.absolute[0]
    }
}

/// A task with what its slot holds.
struct Running {
    pid: u32,
    source: Source,
    task: Task,
    line: Option<[i32; FEATURES]>,
    now_ns: u64,
    score: Score,
}

impl Running {
    fn new(pid: u32, kind: Kind, seed: u64) -> Self {
        Self {
            pid,
            source: Source::new(kind, seed ^ (u64::from(pid) << 32)),
            task: Task::default(),
            line: None,
            now_ns: 0,
            score: Score::default(),
        }
    }
}

/// Runs one task of each kind for so many bursts. Those of the first `settle` are not scored.
pub(super) fn run(kinds: &[Kind], bursts: u32, settle: u32, seed: u64) -> Vec<Score> {
    run_with(Task::uses_line, kinds, bursts, settle, seed)
}

/// The same with another gate.
pub(super) fn run_with(
    gate: impl Fn(&Task) -> bool,
    kinds: &[Kind],
    bursts: u32,
    settle: u32,
    seed: u64,
) -> Vec<Score> {
    let mut learner = Learner::new(Programs::default(), false);
    let mut tasks: Vec<Running> = (1..)
        .zip(kinds)
        .map(|(pid, kind)| Running::new(pid, *kind, seed))
        .collect();
    let mut next_ns = REFIT_NS;
    while tasks.iter().any(|task| task.task.bursts() < bursts) {
        for running in &mut tasks {
            while running.now_ns < next_ns && running.task.bursts() < bursts {
                step(running, &gate, &mut learner, settle);
            }
        }
        for write in learner.refit() {
            // Numbers are in the order of tasks, and too few to meet.
            let owner = tasks.iter_mut().find(|task| slot(task.pid) == write.slot);
            owner.expect("only these tasks are seen").line = write.weights;
        }
        next_ns += REFIT_NS;
    }
    tasks.into_iter().map(|task| task.score).collect()
}

fn step(running: &mut Running, gate: &impl Fn(&Task) -> bool, learner: &mut Learner, settle: u32) {
    let (wakeup, ran_ns) = running.source.next();
    running.now_ns += wakeup.slept_ns + ran_ns;
    let task = &mut running.task;
    let features = task.wake(&wakeup);
    let said = running.line.map(|line| deviation(&line, &features));
    let used = said.filter(|_| gate(task)).unwrap_or_default();
    let first = task.bursts() == 0;
    let burst = task.end(ran_ns, said);
    if first {
        return;
    }
    if task.bursts() > settle {
        let errors = [burst.deviation, burst.deviation - used];
        running
            .score
            .add(from_q16(burst.length), errors.map(from_q16));
    }
    learner.add(&Seen {
        pid: running.pid,
        comm: "made up",
        features,
        deviation: burst.deviation,
    });
}

/// The same with one line for all tasks, and no gate: fitted to the first half of bursts, scored on the second.
pub(super) fn run_as_one(kinds: &[Kind], bursts: u32, seed: u64) -> Vec<Score> {
    let mut all = Equations::default();
    let mut tasks: Vec<Running> = (1..)
        .zip(kinds)
        .map(|(pid, kind)| Running::new(pid, *kind, seed))
        .collect();
    let mut line = None;
    for turn in 0..bursts {
        if turn == bursts / 2 {
            line = all.solve(RIDGE, &[0.0; FEATURES]);
        }
        for running in &mut tasks {
            let (wakeup, ran_ns) = running.source.next();
            let features = running.task.wake(&wakeup).map(from_q16);
            let burst = running.task.end(ran_ns, None);
            let deviation = from_q16(burst.deviation);
            if let Some(line) = &line {
                let said: f64 = features
                    .iter()
                    .zip(line)
                    .map(|(x, w): (_, &f64)| x * w)
                    .sum();
                running
                    .score
                    .add(from_q16(burst.length), [deviation, deviation - said]);
            } else if turn > 0 {
                all.add(&features, deviation);
            }
        }
    }
    tasks.into_iter().map(|task| task.score).collect()
}
