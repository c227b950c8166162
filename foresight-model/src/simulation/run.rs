//! Tasks side by side, refits between their bursts, and how well each was predicted.

use super::source::{Kind, Source};
use crate::burst::{FEATURES, Task, deviation};
use crate::fixed::{from_q16, to_q16};
use crate::line::{Equations, Learner, Programs, RIDGE, Seen, slot};
use crate::score::{Predicted, Scores, Tally};

/// Between refits.
const REFIT_NS: u64 = 500_000_000;

/// A task with what its slot holds.
struct Running {
    pid: u32,
    source: Source,
    task: Task,
    line: Option<[i32; FEATURES]>,
    now_ns: u64,
    tally: Tally,
}

impl Running {
    fn new(pid: u32, kind: Kind, seed: u64) -> Self {
        Self {
            pid,
            source: Source::new(kind, seed ^ (u64::from(pid) << 32)),
            task: Task::default(),
            line: None,
            now_ns: 0,
            tally: Tally::default(),
        }
    }
}

/// Runs one task of each kind for so many bursts. Those of the first `settle` are not scored.
pub(super) fn run(kinds: &[Kind], bursts: u32, settle: u32, seed: u64) -> Vec<Scores> {
    run_with(Task::uses_line, kinds, bursts, settle, seed)
}

/// The same with another gate.
pub(super) fn run_with(
    gate: impl Fn(&Task) -> bool,
    kinds: &[Kind],
    bursts: u32,
    settle: u32,
    seed: u64,
) -> Vec<Scores> {
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
    scores(tasks)
}

fn step(running: &mut Running, gate: &impl Fn(&Task) -> bool, learner: &mut Learner, settle: u32) {
    let (wakeup, ran_ns) = running.source.next();
    running.now_ns += wakeup.slept_ns + ran_ns;
    let task = &mut running.task;
    let features = task.wake(&wakeup);
    let said = running.line.map(|line| deviation(&line, &features));
    let used = said.filter(|_| gate(task));
    let first = task.bursts() == 0;
    let last = task.last();
    let burst = task.end(ran_ns, said);
    if first {
        return;
    }
    if task.bursts() > settle {
        running.tally.add(&Predicted {
            length: burst.length,
            last,
            average: burst.length - burst.deviation,
            line: used,
        });
    }
    learner.add(&Seen {
        pid: running.pid,
        comm: "made up",
        features,
        deviation: burst.deviation,
    });
}

/// The same with one line for all tasks, and no gate: fitted to the first half of bursts, scored on the second.
pub(super) fn run_as_one(kinds: &[Kind], bursts: u32, seed: u64) -> Vec<Scores> {
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
            let last = running.task.last();
            let burst = running.task.end(ran_ns, None);
            let deviation = from_q16(burst.deviation);
            if let Some(line) = &line {
                let products = features.iter().zip(line).map(|(x, w): (_, &f64)| x * w);
                running.tally.add(&Predicted {
                    length: burst.length,
                    last,
                    average: burst.length - burst.deviation,
                    line: Some(to_q16(products.sum())),
                });
            } else if turn > 0 {
                all.add(&features, deviation);
            }
        }
    }
    scores(tasks)
}

fn scores(tasks: Vec<Running>) -> Vec<Scores> {
    let scores = tasks.into_iter().map(|task| task.tally.scores());
    let scores: Option<_> = scores.collect();
    scores.expect("some bursts of each task are scored")
}
