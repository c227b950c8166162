//! The subcommand `test`: every check and every test there is, counted. This module owns the
//! order, the counting and the report.
//!
//! Nothing is skipped: what cannot run has failed, and says what it lacks.

mod attempts;
mod checks;
mod count;
#[cfg(test)]
mod floors;
mod install;
mod little;
mod owned;
mod packages;
mod rpm;
mod sizes;
#[cfg(test)]
mod words;

use std::io::{self, Write as _};
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::command::{complain, run, say, watched};
use crate::machine::{Kernel, Lines, Machine, Role, SYSTEM_TESTS};
use crate::said::{self, To};
use crate::tail::Tail;
use crate::{bench, debian, ebpf, fuzz, prometheus, setup};
use attempts::in_machine;
use checks::{CHECKS, FUZZING, RELEASE, UNIT_TESTS};
use count::Count;
use install::RELEASES;
use packages::PACKAGES;
use sizes::SIZES;

/// The step that shows that the benchmarks work.
const BENCHMARKS: &str = "benchmarks, quickly";

/// How long the system tests in one machine may take, under emulation.
const SYSTEM_TESTS_TIMEOUT: Duration = Duration::from_secs(40 * 60);

/// The step of what can go wrong.
const FAULTS: &str = "system tests (faults)";

/// The step that has loads, faults and edits come at random, and for how many seconds.
const SOAK: &str = "soak";
const SOAK_SECONDS: u32 = 120;

/// Where the system tests look for the profiler's tests that attach BPF programs.
const PROCESS_TESTS: &str = "usr/libexec/auto-ext/process-tests";

/// What `test` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the steps with this in their name, or else only the tests
    filter: Option<String>,
    /// Leave out what needs the test machine
    #[arg(long)]
    no_machine: bool,
    /// Try install.sh on clean Debian systems too, which takes root, the network and half an hour
    #[arg(long)]
    install: bool,
    /// The kernel for the test machine; can be given several times; all three if it is not
    #[arg(long = "kernel", value_name = "ROLE")]
    kernels: Vec<Role>,
}

/// One step and what it counted.
struct Outcome {
    name: String,
    count: Count,
    took: Duration,
    /// The end of what it said.
    tail: Tail,
}

/// A step that is to be done.
struct Step<'a> {
    name: String,
    work: Work<'a>,
}

type Work<'a> = Box<dyn FnOnce(Option<&str>) -> Result<Count> + Send + 'a>;

/// The run as far as it has come.
struct Run {
    /// All steps that there are, in the order in which they are reported.
    names: Vec<String>,
    /// What a step's name must contain.
    steps: Option<String>,
    /// What a test's name must contain.
    tests: Option<String>,
    outcomes: Vec<Outcome>,
}

/// Runs everything, whatever fails on the way.
pub(crate) fn test(arguments: &Arguments) -> Result<ExitCode> {
    let roles = if arguments.no_machine {
        &[][..]
    } else if arguments.kernels.is_empty() {
        &Role::ALL[..]
    } else {
        &arguments.kernels[..]
    };
    let mut all = Run::new(arguments.filter.as_deref(), roles);
    // What is missing is named here, and nothing else is tried.
    setup::setup()?;
    for check in CHECKS {
        all.step(check.name, |_| {
            run(&mut (check.command)()?)?;
            Ok(Count::PASSED)
        });
    }
    all.step(UNIT_TESTS, unit_tests);
    all.step(FUZZING, |_| fuzzing());
    if !roles.is_empty() {
        all.step(RELEASE, |_| ebpf::build_release().map(|()| Count::PASSED));
        all.name_kernels(roles);
    }
    let machine = roles.contains(&packages::ROLE);
    if machine {
        all.step(&system_step(packages::ROLE), |filter| {
            system_tests(packages::ROLE, filter)
        });
        all.step(FAULTS, faults);
        all.step(SOAK, |_| soak());
    }
    // The oldest last: if the packages are done by then, its loads have the processors to themselves.
    let system = |role| {
        let is_tested = roles.contains(&role);
        is_tested.then(|| Step::new(system_step(role), move |filter| system_tests(role, filter)))
    };
    let sizes = machine.then(|| Step::new(SIZES, |_| sizes::sizes()));
    let machines = [system(Role::Refusing), sizes, system(Role::Oldest)];
    let packages = Step::new(PACKAGES, move |_| packages::packages(machine));
    all.side_by_side(machines.into_iter().flatten().collect(), vec![packages]);
    all.step(BENCHMARKS, |_| benchmarks(machine));
    if arguments.install {
        for release in RELEASES {
            all.step(release.step, |_| install::install(release));
        }
    }
    all.report()
}

/// Checks the dependencies against the database of known vulnerabilities.
pub(crate) fn advisories() -> Result<()> {
    debian::ensure_packages()?;
    run(&mut checks::deny(&["advisories"])?)
}

impl Run {
    fn new(filter: Option<&str>, roles: &[Role]) -> Self {
        let before = CHECKS.iter().map(|check| check.name);
        let before = before.chain([UNIT_TESTS, FUZZING, RELEASE]);
        let system = roles.iter().map(|role| system_step(*role));
        let after = [FAULTS, SOAK, SIZES, PACKAGES, BENCHMARKS].into_iter();
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

    fn wants(&self, name: &str) -> bool {
        match (&self.steps, &self.tests) {
            (Some(part), _) => name.contains(part.as_str()),
            (None, Some(_)) => name == UNIT_TESTS || name == RELEASE || is_system_step(name),
            (None, None) => true,
        }
    }

    fn step(&mut self, name: &str, work: impl FnOnce(Option<&str>) -> Result<Count>) {
        if !self.wants(name) {
            return;
        }
        let outcome = outcome(name, "", self.tests.as_deref(), work);
        self.finished([outcome]);
    }

    /// Does the steps of each list one after the other, and the lists side by side.
    fn side_by_side(&mut self, first: Vec<Step<'_>>, second: Vec<Step<'_>>) {
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
        let all = |steps: Vec<Step<'_>>| -> Vec<Outcome> {
            let outcome = |step: Step<'_>| {
                let mark = format!("[{}] ", step.name);
                outcome(&step.name, &mark, tests, step.work)
            };
            steps.into_iter().map(outcome).collect()
        };
        let (first, second) = thread::scope(|scope| {
            let second = scope.spawn(|| all(second));
            (all(first), second.join())
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

    /// Gets what the machines need, and says which kernels they will run.
    fn name_kernels(&self, roles: &[Role]) {
        let wanted: Vec<_> = roles
            .iter()
            .filter(|role| self.wants(&system_step(**role)))
            .collect();
        let mut used = Vec::new();
        for role in &wanted {
            // What it could not get is said, and counted, by the step that needs it.
            match machine(**role).prepare() {
                Ok(version) => used.push(format!("{} = {version}", role.name())),
                Err(error) => say(format!("no {} kernel: {error:#}", role.name())),
            }
        }
        if !wanted.is_empty() {
            say(format!(
                "the kernels of the test machine: {}",
                used.join(", ")
            ));
        }
    }

    fn report(&self) -> Result<ExitCode> {
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
    fn new(
        name: impl Into<String>,
        work: impl FnOnce(Option<&str>) -> Result<Count> + Send + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            work: Box::new(work),
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

fn system_step(role: Role) -> String {
    format!("system tests ({})", role.name())
}

fn is_system_step(name: &str) -> bool {
    name.starts_with("system tests")
}

fn unit_tests(filter: Option<&str>) -> Result<Count> {
    let mut count = Count::default();
    // Every test program of the workspace ends with a line of its own.
    let status = watched(&mut checks::unit_tests(filter)?, |line| {
        count += Count::parse(line).unwrap_or_default();
    })?;
    Ok(count.ended(status.success()))
}

fn fuzzing() -> Result<Count> {
    let mut count = Count::default();
    for found_nothing in fuzz::short()? {
        count += if found_nothing {
            Count::PASSED
        } else {
            Count::FAILED
        };
    }
    Ok(count)
}

fn system_tests(role: Role, filter: Option<&str>) -> Result<Count> {
    let mut machine = machine(role);
    // Metrics do not depend on the kernel.
    if role == Role::Newest {
        for (name, program) in prometheus::ensure()? {
            machine = machine.file(program, format!("usr/bin/{name}"));
        }
    }
    machine = machine.file(ebpf::build_process_tests()?, PROCESS_TESTS);
    let words: Vec<&str> = filter.into_iter().collect();
    in_machine(role.name(), &machine, &words)
}

fn faults(filter: Option<&str>) -> Result<Count> {
    // Ten thousand processes want more than the machine has usually.
    let machine = machine(Role::Newest).memory("4G");
    let words: Vec<&str> = ["faults"].into_iter().chain(filter).collect();
    in_machine("faults", &machine, &words)
}

/// One that lasted is one test. It prints the seed by which it can be had again.
fn soak() -> Result<Count> {
    let mut seed = None;
    let mut lines = shown("[soak] ", |line| {
        seed = seed
            .take()
            .or_else(|| Some(line.strip_prefix("seed ")?.to_owned()));
    });
    let command = [SYSTEM_TESTS, "soak", &SOAK_SECONDS.to_string()].map(str::to_owned);
    let machine = machine(Role::Newest).called(SOAK);
    let result = machine.run(&command, &mut |bytes| lines.feed(bytes));
    lines.finish()?;
    // A machine that was lost has not come to say it again.
    let exit = result.with_context(|| match seed {
        Some(seed) => format!("seed {seed}"),
        None => "before a seed was said".to_owned(),
    })?;
    Ok(if exit.status == 0 {
        Count::PASSED
    } else {
        Count::FAILED
    })
}

fn benchmarks(machine: bool) -> Result<Count> {
    let mut output = said::Output::new();
    let measured = bench::quick(machine, &mut output);
    output.finish()?;
    Ok(Count {
        passed: measured?,
        ..Count::default()
    })
}

fn machine(role: Role) -> Machine {
    Machine::new(Kernel::Role(role))
        .timeout(SYSTEM_TESTS_TIMEOUT)
        .env("AUTO_EXT_KERNEL_ROLE", role.name())
}

/// Lines that are shown behind `prefix`, each passed on to `each`.
fn shown<'a>(
    prefix: &'a str,
    mut each: impl FnMut(&str) + 'a,
) -> Lines<impl FnMut(&str) -> Result<()> + 'a> {
    Lines::new(move |line: &str| {
        each(line);
        Ok(said::line(To::Output, prefix, line)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::command;

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
        assert_eq!(unit_tests[1..3], ["---- a stdout ----", "  left: 1"]);
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
