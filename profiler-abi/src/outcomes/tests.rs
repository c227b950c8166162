//! A machine whose tasks and CPUs are known, and what the counters say of it.

extern crate std;

use proptest::prelude::*;
use std::vec::Vec;

use super::*;
use crate::wait_scale::shortest_of;

const MS: u64 = 1_000_000;
const TASKS: usize = 5;
const CPUS: usize = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Is {
    /// From before anybody measured, and asleep or ready.
    #[default]
    Unseen,
    Asleep {
        short: Option<bool>,
    },
    Ready {
        at: u64,
        counts: bool,
        ran: u64,
        has_run: bool,
    },
    Runs {
        at: u64,
        counts: bool,
        ran: u64,
        /// When its burst began to be possible; `None` when that was not seen.
        ready: Option<u64>,
    },
}

/// A machine, and by hand what is true of its waits and bursts.
#[derive(Default)]
struct Kernel {
    now: u64,
    counters: [OutcomeCounters; CPUS],
    sleepers: [Sleeper; TASKS],
    tasks: [Is; TASKS],
    /// From when the burst of a ready or running task could begin.
    ready: [u64; TASKS],
    runs: [Option<usize>; CPUS],
    background: [bool; TASKS],
    waits: Vec<u64>,
    bursts: Vec<(u64, u64)>,
}

fn number(task: usize) -> u64 {
    task as u64 + 1
}

impl Kernel {
    fn new() -> Self {
        Self {
            now: 1000 * MS,
            ..Self::default()
        }
    }

    fn wakes(&mut self, task: usize) {
        // The kernel wakes only who sleeps, or is about to.
        if matches!(self.tasks[task], Is::Ready { .. }) {
            return;
        }
        self.sleepers[task].is_woken(number(task), self.now);
        if let Is::Asleep { short } = self.tasks[task] {
            self.tasks[task] = Is::Ready {
                at: self.now,
                counts: short == Some(true),
                ran: 0,
                has_run: false,
            };
        } else if self.tasks[task] == Is::Unseen {
            self.tasks[task] = Is::Ready {
                at: self.now,
                counts: false,
                ran: 0,
                has_run: true,
            };
        }
    }

    /// Who runs leaves, as it says, and this one comes.
    fn switches(&mut self, cpu: usize, comes: Option<usize>, sleeps: bool) {
        let ran = self.counters[cpu].switches(self.now);
        if let Some(task) = self.runs[cpu].take() {
            self.leaves(cpu, task, ran, sleeps);
        }
        if let Some(task) = comes {
            self.runs[cpu] = Some(task);
            self.sleepers[task].runs(&mut self.counters[cpu], number(task), self.now);
            let (counts, ran, ready) = match self.tasks[task] {
                Is::Ready {
                    at,
                    counts,
                    ran,
                    has_run,
                } => {
                    if counts && !has_run {
                        self.waits.push(self.now - at);
                    }
                    if !has_run {
                        self.ready[task] = at;
                    }
                    (counts, ran, Some(self.ready[task]))
                }
                _ => (false, 0, None),
            };
            self.tasks[task] = Is::Runs {
                at: self.now,
                counts,
                ran,
                ready,
            };
        }
    }

    fn leaves(&mut self, cpu: usize, task: usize, piece: u64, sleeps: bool) {
        let Is::Runs {
            at,
            counts,
            ran,
            ready,
        } = self.tasks[task]
        else {
            unreachable!("it runs");
        };
        let ran = ran + (self.now - at);
        let sleeper = &mut self.sleepers[task];
        let seen = sleeper.pid == number(task);
        if !sleeps {
            sleeper.is_preempted(number(task), piece);
            self.tasks[task] = Is::Ready {
                at: self.now,
                counts,
                ran,
                has_run: true,
            };
            return;
        }
        let may_count = !self.background[task];
        sleeper.sleeps(
            &mut self.counters[cpu],
            number(task),
            self.now,
            piece,
            may_count,
        );
        let short = ran < SHORT_BURST_NS;
        if let (true, true, Some(ready)) = (short, counts, ready) {
            self.bursts.push((ran, self.now - ready));
        }
        self.tasks[task] = Is::Asleep {
            short: seen.then_some(short && may_count),
        };
    }

    fn total(&self, of: fn(&OutcomeCounters) -> u64) -> u64 {
        self.counters.iter().map(of).sum()
    }
}

/// A sleeper that wakes each `period`, waits and works; the first rounds make it known.
fn rounds(kernel: &mut Kernel, waits: u64, works: u64, rounds: u64) {
    for _ in 0..rounds {
        kernel.wakes(0);
        kernel.now += waits;
        kernel.switches(0, Some(0), false);
        kernel.now += works;
        kernel.switches(0, None, true);
        kernel.now += 10 * MS;
    }
}

#[test]
fn the_waits_of_who_works_shortly_count_and_those_of_who_computes_do_not() {
    let mut kernel = Kernel::new();
    rounds(&mut kernel, MS, 2 * MS, 12);
    // The first one makes its place, and of the second the burst before is not known.
    assert_eq!(kernel.total(|cpu| cpu.waits.iter().sum()), 10);
    assert_eq!(kernel.total(|cpu| cpu.wait_ns), 10 * MS);
    assert_eq!(kernel.total(|cpu| cpu.burst_ns), 20 * MS);
    assert_eq!(kernel.total(|cpu| cpu.held_up_ns), 10 * MS);
    let mut kernel = Kernel::new();
    rounds(&mut kernel, MS, 5 * MS, 12);
    assert_eq!(kernel.total(|cpu| cpu.waits.iter().sum()), 0);
    assert_eq!(kernel.total(|cpu| cpu.burst_ns), 0);
}

#[test]
fn a_wait_outweighs_no_more_than_the_longest_does() {
    let mut kernel = Kernel::new();
    rounds(&mut kernel, 30_000 * MS, MS, 3);
    assert_eq!(kernel.total(|cpu| cpu.wait_ns), LONGEST_WAIT_NS);
    assert_eq!(kernel.total(|cpu| cpu.held_up_ns), LONGEST_WAIT_NS);
    assert_eq!(kernel.total(|cpu| cpu.long_waits), 1);
    assert_eq!(kernel.total(|cpu| cpu.waits[WAIT_BUCKETS - 1]), 1);
}

/// A burst is judged by its CPU time, which is the same however often a scheduler interrupts it.
#[test]
fn who_is_preempted_is_held_up_and_works_no_longer() {
    let mut kernel = Kernel::new();
    rounds(&mut kernel, 0, MS, 2);
    kernel.wakes(0);
    for _ in 0..10 {
        kernel.switches(0, Some(0), false);
        kernel.now += MS / 5;
        kernel.switches(0, None, false);
        kernel.now += 5 * MS;
    }
    kernel.switches(0, Some(0), false);
    kernel.switches(0, None, true);
    assert_eq!(kernel.total(|cpu| cpu.wait_ns), 0);
    assert_eq!(kernel.total(|cpu| cpu.burst_ns), 2 * MS);
    assert_eq!(kernel.total(|cpu| cpu.held_up_ns), 50 * MS);
    // And it counts the next time.
    kernel.wakes(0);
    kernel.now += 3 * MS;
    kernel.switches(0, Some(0), false);
    assert_eq!(kernel.total(|cpu| cpu.wait_ns), 3 * MS);
    assert_eq!(kernel.total(|cpu| cpu.long_waits), 1);
}

#[test]
fn who_is_woken_before_its_cpu_says_that_it_sleeps_waits_from_then() {
    let mut kernel = Kernel::new();
    rounds(&mut kernel, 0, MS, 2);
    let (counters, sleeper) = (&mut kernel.counters[0], &mut kernel.sleepers[0]);
    sleeper.is_woken(1, 2000 * MS);
    sleeper.runs(counters, 1, 2000 * MS);
    sleeper.is_woken(1, 2001 * MS);
    sleeper.sleeps(counters, 1, 2001 * MS + 500, 1_000_500, true);
    let before = counters.wait_ns;
    sleeper.runs(counters, 1, 2001 * MS + 3_500);
    assert_eq!(counters.wait_ns - before, 3_000);
}

#[test]
fn a_wake_up_that_was_not_seen_is_no_wait() {
    let mut kernel = Kernel::new();
    rounds(&mut kernel, 0, MS, 3);
    let (counters, sleeper) = (&mut kernel.counters[0], &mut kernel.sleepers[0]);
    let before = *counters;
    sleeper.runs(counters, 1, 9_000 * MS);
    assert_eq!(*counters, before);
    // Its burst is known again.
    sleeper.sleeps(counters, 1, 9_001 * MS, MS, true);
    assert_eq!(*counters, before);
    assert_eq!(sleeper.counts, 1);
}

#[test]
fn who_takes_the_place_of_another_task_or_number_brings_nothing_along() {
    let mut kernel = Kernel::new();
    rounds(&mut kernel, 0, MS, 3);
    let (counters, sleeper) = (&mut kernel.counters[0], &mut kernel.sleepers[0]);
    let before = *counters;
    let other = 1 + u64::from(SLEEPERS);
    sleeper.is_woken(other, 8_000 * MS);
    sleeper.runs(counters, other, 8_001 * MS);
    sleeper.is_preempted(other, MS);
    sleeper.sleeps(counters, other, 8_002 * MS, MS, true);
    assert_eq!((sleeper.pid, sleeper.counts), (other, 0));
    sleeper.ends(1);
    assert_eq!(sleeper.pid, other);
    sleeper.ends(other);
    assert_eq!(sleeper.pid, 0);
    assert_eq!(*counters, before);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Wake(usize),
    /// Whoever runs on the CPU leaves it, to sleep or not, and the next ready task from this one on comes.
    Switch(usize, usize, bool),
    Nice(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..3 * MS).prop_map(Step::Pass),
        1 => (1..300 * MS).prop_map(Step::Pass),
        4 => (0..TASKS).prop_map(Step::Wake),
        6 => (0..CPUS, 0..TASKS, any::<bool>()).prop_map(|(cpu, from, sleeps)| Step::Switch(cpu, from, sleeps)),
        1 => (0..TASKS, any::<bool>()).prop_map(|(task, nice)| Step::Nice(task, nice)),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn what_is_counted_is_what_tasks_waited_and_were_held_up(steps in steps()) {
        let mut kernel = Kernel::new();
        for step in steps {
            // No two events are at one time.
            kernel.now += 1;
            match step {
                Step::Pass(ns) => kernel.now += ns,
                Step::Wake(task) => kernel.wakes(task),
                Step::Switch(cpu, from, sleeps) => {
                    let can_run = |task: &usize| {
                        matches!(kernel.tasks[*task], Is::Ready { .. } | Is::Unseen)
                            && !kernel.runs.contains(&Some(*task))
                    };
                    let comes = (0..TASKS).map(|n| (from + n) % TASKS).find(can_run);
                    kernel.switches(cpu, comes, sleeps);
                }
                Step::Nice(task, nice) => kernel.background[task] = nice,
            }
        }
        let longest = |ns: &u64| (*ns).min(LONGEST_WAIT_NS);
        let waits: u64 = kernel.waits.iter().map(longest).sum();
        prop_assert_eq!(kernel.total(|cpu| cpu.wait_ns), waits);
        let long = kernel.waits.iter().filter(|wait| **wait > LONG_WAIT_NS).count();
        prop_assert_eq!(kernel.total(|cpu| cpu.long_waits), long as u64);
        for bucket in 0..WAIT_BUCKETS {
            let (from, to) = (shortest_of(bucket), shortest_of(bucket + 1));
            let within = kernel.waits.iter().map(longest).filter(|wait| (from..to).contains(wait));
            let counted: u64 = kernel.counters.iter().map(|cpu| cpu.waits[bucket]).sum();
            prop_assert_eq!(counted, within.count() as u64, "bucket {}", bucket);
        }
        let worked: u64 = kernel.bursts.iter().map(|(ran, _)| ran).sum();
        prop_assert_eq!(kernel.total(|cpu| cpu.burst_ns), worked);
        let held_up: u64 = kernel.bursts.iter().map(|(ran, awake)| longest(&(awake - ran))).sum();
        prop_assert_eq!(kernel.total(|cpu| cpu.held_up_ns), held_up);
    }
}
