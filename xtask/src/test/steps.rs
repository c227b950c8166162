//! Owns the steps of a run: which are wanted, that one is done after the other or beside it, what comes of each, and the
//! report.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::iter;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::checks::{CHECKS, FUZZING, RELEASE, UNIT_TESTS};
use super::count::Count;
use super::emulated::EMULATED;
use super::install::RELEASES;
use super::packages::PACKAGES;
use super::sizes::SIZES;
use super::virtual_machines::VIRTUAL_MACHINES;
use super::{BENCHMARKS, FAULTS, NO_LOADS, SOAK, is_system_step, system_step};
use crate::command::{NICEST, complain, make_way, say};
use crate::machine::Role;
use crate::said::{self, To};
use crate::tail::Tail;

/// One step and what it counted.
struct Outcome {
    name: String,
    count: Count,
    took: Duration,
    /// The end of what it said.
    tail: Tail,
}

/// A step that is to be done.
pub(super) struct Step<'a> {
    name: String,
    work: Work<'a>,
    niceness: i32,
}

/// How much nicer a machine is than one beside it that judges loads or times: it has a seventh of a processor that both
/// want. With much less, what its programs wait for on their own is given up, such as a scheduler that does not get loaded; with more,
/// the other one judges a load that is not there.
const NICENESS_OF_MACHINES: i32 = 8;

type Work<'a> = Box<dyn FnOnce(Option<&str>) -> Result<Count> + Send + 'a>;

/// The run as far as it has come.
pub(super) struct Run {
    /// All steps that there are, in the order in which they are reported.
    names: Vec<String>,
    /// What a step's name must contain.
    steps: Option<String>,
    /// What a test's name must contain.
    tests: Option<String>,
    outcomes: Vec<Outcome>,
}

impl Run {
    pub(super) fn new(filter: Option<&str>, roles: &[Role]) -> Self {
        let before = CHECKS.iter().map(|check| check.name);
        let before = before.chain([UNIT_TESTS, FUZZING, RELEASE, VIRTUAL_MACHINES]);
        let system = roles.iter().map(|role| system_step(*role));
        let after = [
            NO_LOADS, EMULATED, FAULTS, SOAK, SIZES, PACKAGES, BENCHMARKS,
        ];
        let after = after.into_iter();
        let after = after.chain(RELEASES.iter().map(|release| release.step));
        let names = before.map(str::to_owned).chain(system);
        let names: Vec<String> = names.chain(after.map(str::to_owned)).collect();
        // A filter that names a step selects it; any other selects among the tests.
        let filter = filter.map(str::to_owned);
        let is_step = filter
            .as_ref()
            .is_some_and(|filter| names.iter().any(|name| name.contains(filter)));
        let (steps, tests) = if is_step {
            (filter, None)
        } else {
            (None, filter)
        };
        Self {
            names,
            steps,
            tests,
            outcomes: Vec::new(),
        }
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        match (&self.steps, &self.tests) {
            (Some(part), _) => name.contains(part.as_str()),
            (None, Some(_)) => name == UNIT_TESTS || name == RELEASE || is_system_step(name),
            (None, None) => true,
        }
    }

    pub(super) fn step(&mut self, name: &str, work: impl FnOnce(Option<&str>) -> Result<Count>) {
        if !self.wants(name) {
            return;
        }
        let outcome = outcome(name, "", self.tests.as_deref(), work);
        self.finished([outcome]);
    }

    /// Does the steps of each list one after the other, and the lists side by side; those of the second are nicer, and two at once when the
    /// first has come to its end.
    pub(super) fn side_by_side(&mut self, first: Vec<Step<'_>>, second: Vec<Step<'_>>) {
        let wanted = |steps: Vec<_>| -> Vec<Step<'_>> {
            let steps = steps.into_iter();
            steps
                .filter(|step: &Step<'_>| self.wants(&step.name))
                .collect()
        };
        let (first, second) = (wanted(first), wanted(second));
        if first.is_empty() || second.is_empty() {
            for step in first.into_iter().chain(second) {
                self.step(&step.name, step.work);
            }
            return;
        }
        let tests = self.tests.as_deref();
        let one = |step: Step<'_>| {
            let mark = format!("[{}] ", step.name);
            outcome(&step.name, &mark, tests, step.work)
        };
        let nicer = |step: Step<'_>| {
            // A thread for each, as none becomes less nice again.
            let step = || {
                make_way(step.niceness);
                one(step)
            };
            thread::scope(|scope| scope.spawn(step).join())
                .unwrap_or_else(|panic| resume_unwind(panic))
        };
        let left = Mutex::new(VecDeque::from(second));
        let next = || {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            left.pop_front()
        };
        let rest = || iter::from_fn(next).map(nicer).collect::<Vec<_>>();
        let (first, second) = thread::scope(|scope| {
            let second = scope.spawn(rest);
            let first = first
                .into_iter()
                .map(one)
                .chain(iter::from_fn(next).map(nicer));
            (first.collect::<Vec<_>>(), second.join())
        });
        self.finished(first);
        self.finished(second.unwrap_or_else(|panic| resume_unwind(panic)));
    }

    /// Notes what has come of steps.
    fn finished(&mut self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.outcomes.extend(outcomes);
        let place = |outcome: &Outcome| self.names.iter().position(|name| *name == outcome.name);
        self.outcomes.sort_by_key(place);
    }

    pub(super) fn report(&self) -> Result<ExitCode> {
        // Again: who reads the end of a long log is to see why.
        for line in self.outcomes.iter().flat_map(Outcome::failure) {
            said::line(To::Error, "", &line)?;
        }
        let mut all = Count::default();
        for outcome in &self.outcomes {
            let Outcome {
                name, count, took, ..
            } = outcome;
            all += *count;
            let seconds = took.as_secs_f64();
            let Count {
                passed,
                failed,
                second,
            } = count;
            let second = match second {
                0 => String::new(),
                second => format!(", {second} at a second attempt"),
            };
            say(format!(
                "{name:<26} {seconds:>7.1} s {passed:>5} passed {failed:>4} failed{second}"
            ));
        }
        let mut stdout = io::stdout();
        writeln!(
            stdout,
            "{} passed, {} failed, {} at a second attempt",
            all.passed, all.failed, all.second
        )?;
        if all.passed == 0 && all.failed == 0 {
            say("error: no test has this in its name");
        }
        Ok(if all.failed == 0 && all.passed > 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl Outcome {
    /// The end of what it said, if it failed.
    fn failure(&self) -> Vec<String> {
        if self.count.failed == 0 {
            return Vec::new();
        }
        let heading = format!("xtask: FAILED: {}, its last lines:", self.name);
        let lines = self.tail.lines().into_iter().map(str::to_owned);
        [heading].into_iter().chain(lines).collect()
    }
}

impl<'a> Step<'a> {
    pub(super) fn new(
        name: impl Into<String>,
        work: impl FnOnce(Option<&str>) -> Result<Count> + Send + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            work: Box::new(work),
            niceness: NICEST,
        }
    }

    /// One that is done in a machine, and so is less nice beside others than what compiles.
    pub(super) fn in_machine(
        name: impl Into<String>,
        work: impl FnOnce(Option<&str>) -> Result<Count> + Send + 'a,
    ) -> Self {
        Self {
            niceness: NICENESS_OF_MACHINES,
            ..Self::new(name, work)
        }
    }
}

/// What comes of a step.
fn outcome(
    name: &str,
    mark: &str,
    tests: Option<&str>,
    work: impl FnOnce(Option<&str>) -> Result<Count>,
) -> Outcome {
    say(format!("{name} ..."));
    let begin = Instant::now();
    let (count, tail) = said::kept(mark, || counted(name, tests, work));
    if count.failed > 0 {
        say(format!("FAILED: {name}"));
    }
    Outcome {
        name: name.to_owned(),
        count,
        took: begin.elapsed(),
        tail,
    }
}

fn counted(
    name: &str,
    tests: Option<&str>,
    work: impl FnOnce(Option<&str>) -> Result<Count>,
) -> Count {
    let count = work(tests).unwrap_or_else(|error| {
        complain(format!("{name}: {error:#}"));
        Count::FAILED
    });
    // With a filter a program may have no test that it selects; not all of them, though.
    if count.is_empty() && tests.is_none() {
        complain(format!("{name}: no test ran"));
        return Count::FAILED;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{command, run, watched};

    #[test]
    fn a_filter_selects_steps_by_name_or_else_tests() {
        let run = Run::new(Some("lints"), &Role::ALL);
        assert!(run.wants("lints") && run.wants("lints of the BPF programs"));
        assert!(!run.wants(UNIT_TESTS) && run.tests.is_none());
        assert!(!run.wants(PACKAGES));

        let run = Run::new(Some("quarantine"), &Role::ALL);
        assert!(run.wants(UNIT_TESTS) && run.wants("system tests (oldest)"));
        assert!(!run.wants("lints"));
        assert_eq!(run.tests.as_deref(), Some("quarantine"));

        let run = Run::new(None, &[]);
        assert!(CHECKS.iter().all(|check| run.wants(check.name)));
    }

    #[test]
    fn steps_that_run_side_by_side_are_reported_in_their_order() {
        let barrier = std::sync::Barrier::new(2);
        let waits = |_: Option<&str>| {
            // Each for the other: one after the other they would never end.
            barrier.wait();
            run_command("echo built")?;
            Ok(Count::PASSED)
        };
        let mut run = Run::new(None, &Role::ALL);
        run.side_by_side(
            vec![
                Step::new("system tests (oldest)", waits),
                Step::new(SIZES, |_| Ok(Count::FAILED)),
            ],
            vec![Step::new(PACKAGES, waits)],
        );
        run.step("lints", |_| Ok(Count::PASSED));
        let names: Vec<_> = run.outcomes.iter().map(|outcome| &*outcome.name).collect();
        assert_eq!(names, ["lints", "system tests (oldest)", SIZES, PACKAGES]);
        let said = |index: usize| run.outcomes[index].tail.lines();
        assert_eq!(said(1), ["[system tests (oldest)] built"]);
        assert_eq!(said(3), ["[packages] built"]);
    }

    #[test]
    fn when_the_first_list_is_done_two_of_the_second_run_at_once() {
        let barrier = std::sync::Barrier::new(2);
        let waits = |_: Option<&str>| {
            barrier.wait();
            Ok(Count::PASSED)
        };
        let mut run = Run::new(None, &Role::ALL);
        run.side_by_side(
            vec![Step::new(SIZES, |_| Ok(Count::PASSED))],
            vec![Step::new(PACKAGES, waits), Step::new(NO_LOADS, waits)],
        );
        let names: Vec<_> = run.outcomes.iter().map(|outcome| &*outcome.name).collect();
        assert_eq!(names, [NO_LOADS, SIZES, PACKAGES]);
    }

    #[test]
    fn a_step_whose_fellow_is_not_wanted_runs_alone() {
        let mut run = Run::new(Some(PACKAGES), &Role::ALL);
        let here = thread::current().id();
        run.side_by_side(
            vec![Step::new(SIZES, |_| Ok(Count::PASSED))],
            vec![Step::new(PACKAGES, |_| {
                assert_eq!(thread::current().id(), here);
                run_command("echo built")?;
                Ok(Count::PASSED)
            })],
        );
        assert_eq!(run.outcomes.len(), 1);
        assert_eq!(run.outcomes[0].tail.lines(), ["built"]);
    }

    #[test]
    fn of_what_failed_the_output_is_shown_again_and_of_nothing_else() {
        let mut run = Run::new(None, &[]);
        run.step("lints", |_| {
            run_command("echo warning; echo 'error: no' >&2; exit 1")?;
            Ok(Count::PASSED)
        });
        run.step("formatting", |_| {
            run_command("echo good")?;
            Ok(Count::PASSED)
        });
        run.step(UNIT_TESTS, |_| {
            let mut count = Count::default();
            let script = "echo '---- a stdout ----'; echo '  left: 1'; seq 100; echo 'error: test failed' >&2";
            watched(command("sh").args(["-c", script]), |_| count += Count::FAILED)?;
            Ok(count)
        });
        let [formatting, lints, unit_tests] = &run.outcomes[..] else {
            panic!("three steps ran")
        };
        assert_eq!(lints.failure()[1..3], ["warning", "error: no"]);
        assert!(lints.failure()[3].contains("failed (exit status: 1)"));
        assert_eq!(formatting.failure(), [""; 0]);
        let unit_tests = unit_tests.failure();
        // The two streams are read side by side.
        let told = ["---- a stdout ----", "  left: 1"];
        assert!(unit_tests.windows(2).any(|lines| lines == told));
        assert!(unit_tests.contains(&"100".to_owned()));
        assert!(unit_tests.contains(&"error: test failed".to_owned()));
    }

    fn run_command(script: &str) -> Result<()> {
        run(command("sh").args(["-c", script]))
    }

    #[test]
    fn a_step_that_counts_nothing_has_failed() {
        let mut run = Run::new(None, &[]);
        run.step(UNIT_TESTS, |_| Ok(Count::default()));
        run.step(RELEASE, |_| anyhow::bail!("no linker"));
        assert!(
            run.outcomes
                .iter()
                .all(|outcome| outcome.count == Count::FAILED)
        );
        assert_eq!(run.outcomes.len(), 2);
        assert_eq!(
            run.outcomes[1].failure(),
            [
                "xtask: FAILED: release build, its last lines:",
                "xtask: release build: no linker"
            ]
        );
    }
}
