//! Tasks side by side, refits between their bursts, and how well each was predicted.

use super::source::{Kind, Source};
use crate::burst::{FEATURES, Task, deviation};
use crate::fixed::{from_q16, to_q16};
use crate::line::{Equations, Learner, Programs, RIDGE, Seen, slot};
use crate::score::{Predicted, Scores, Tally};

/// Between looks at what is new.
const LOOK_NS: u64 = 25_000_000;
/// How many of these make a period.
const LOOKS: u64 = 20;

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

/// The same of tasks whose program is known already, and learns more of it.
pub(super) fn run_known(programs: &mut Programs, kinds: &[Kind], bursts: u32) -> Vec<Scores> {
    let mut learner = Learner::new(std::mem::take(programs), true);
    let scores = run_in(&mut learner, &Task::uses_line, kinds, bursts, 0, 1);
    *programs = learner.into_programs();
    scores
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
    run_in(&mut learner, &gate, kinds, bursts, settle, seed)
}

fn run_in(
    learner: &mut Learner,
    gate: &impl Fn(&Task) -> bool,
    kinds: &[Kind],
    bursts: u32,
    settle: u32,
    seed: u64,
) -> Vec<Scores> {
    let mut tasks: Vec<Running> = (1..)
        .zip(kinds)
        .map(|(pid, kind)| Running::new(pid, *kind, seed))
        .collect();
    let mut look = 0;
    while tasks.iter().any(|task| task.task.bursts() < bursts) {
        look += 1;
        for running in &mut tasks {
            while running.now_ns < look * LOOK_NS && running.task.bursts() < bursts {
                step(running, gate, learner, settle);
            }
        }
        let writes = if look.is_multiple_of(LOOKS) {
            learner.refit()
        } else {
            learner.begin()
        };
        for write in writes {
            // Numbers are in the order of tasks, and too few to meet.
            let owner = tasks.iter_mut().find(|task| slot(task.pid) == write.slot);
            owner.expect("only these tasks are seen").line = write.weights;
        }
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
