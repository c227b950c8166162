//! The subcommand `test`: every check and every test there is, counted. This module owns what
//! there is and in which order.
//!
//! Nothing is skipped: what cannot run has failed, and says what it lacks.

mod attempts;
mod checks;
mod count;
mod emulated;
#[cfg(test)]
mod floors;
mod install;
mod little;
#[cfg(test)]
mod modules;
mod owned;
mod packages;
mod rpm;
mod sizes;
mod steps;
mod virtual_machines;
#[cfg(test)]
mod words;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::command::{run, say, watched};
use crate::machine::{Kernel, Lines, Machine, Role, SYSTEM_TESTS};
use crate::said::{self, To};
use crate::{bench, debian, ebpf, fuzz, prometheus, setup};
use attempts::in_machine;
use checks::{CHECKS, FUZZING, RELEASE, UNIT_TESTS};
use count::Count;
use emulated::EMULATED;
use install::RELEASES;
use packages::PACKAGES;
use sizes::SIZES;
use steps::{Run, Step};
use virtual_machines::VIRTUAL_MACHINES;
pub(crate) use virtual_machines::placed_again_and_again;

/// The step that shows that the benchmarks work.
const BENCHMARKS: &str = "benchmarks, quickly";

/// How long the system tests in one machine may take, under emulation.
const SYSTEM_TESTS_TIMEOUT: Duration = Duration::from_secs(40 * 60);

/// The step of what can go wrong.
const FAULTS: &str = "system tests (faults)";

/// The step of what judges neither loads nor times.
const NO_LOADS: &str = "system tests (no loads)";

/// The step that has loads, faults and edits come at random, and for how many seconds.
const SOAK: &str = "soak";
const SOAK_SECONDS: u32 = 120;

/// The profiler's tests that attach BPF programs, and where the system tests look for them.
const PROFILER_TESTS: [(&str, &str); 2] = [
    ("processes", "usr/libexec/auto-ext/process-tests"),
    ("outcomes", "usr/libexec/auto-ext/outcome-tests"),
];

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
    if !roles.is_empty() {
        all.step(RELEASE, |_| build_for_machines());
        name_kernels(&all, roles);
    }
    if roles.contains(&Role::Newest) {
        // Alone: it judges where vCPUs are put beside whatever else runs.
        all.step(VIRTUAL_MACHINES, virtual_machines::virtual_machines);
    }
    all.side_by_side(judging(roles), beside(roles));
    if arguments.install {
        for release in RELEASES {
            all.step(release.step, |_| install::install(release));
        }
    }
    all.report()
}

/// What judges loads or times, in machines that have the processors first, and the benchmarks, whose figures are not
/// looked at here.
fn judging(roles: &[Role]) -> Vec<Step<'static>> {
    let mut steps: Vec<_> = roles
        .iter()
        .filter(|role| role.loads())
        .map(system)
        .collect();
    if roles.contains(&Role::Newest) {
        steps.push(Step::new(FAULTS, faults));
        steps.push(Step::new(SOAK, |_| soak()));
        steps.push(Step::new(SIZES, |_| sizes::sizes()));
    }
    let machine = roles.contains(&Role::Newest);
    steps.push(Step::new(BENCHMARKS, move |_| benchmarks(machine)));
    steps
}

/// What judges neither loads nor times: checks and tests on this machine, and in machines.
fn beside(roles: &[Role]) -> Vec<Step<'static>> {
    let check = |check: &'static checks::Check| {
        Step::new(check.name, |_| {
            run(&mut (check.command)()?)?;
            Ok(Count::PASSED)
        })
    };
    let mut steps: Vec<_> = CHECKS.iter().map(check).collect();
    steps.push(Step::new(UNIT_TESTS, unit_tests));
    steps.push(Step::new(FUZZING, |_| fuzzing()));
    let machine = roles.contains(&packages::ROLE);
    // Mostly compiled.
    steps.push(Step::new(PACKAGES, move |_| packages::packages(machine)));
    if roles.contains(&Role::Newest) {
        steps.push(Step::in_machine(NO_LOADS, no_loads));
        steps.push(Step::in_machine(EMULATED, |_| emulated::emulated()));
    }
    steps.extend(roles.iter().filter(|role| !role.loads()).map(system));
    steps
}

fn system(role: &Role) -> Step<'static> {
    let role = *role;
    Step::in_machine(system_step(role), move |filter| system_tests(role, filter))
}

/// Checks the dependencies against the database of known vulnerabilities.
pub(crate) fn advisories() -> Result<()> {
    debian::ensure_packages()?;
    run(&mut checks::deny(&["advisories"])?)
}

/// Gets what the machines need, and says which kernels they will run.
fn name_kernels(run: &Run, roles: &[Role]) {
    let wanted: Vec<_> = roles
        .iter()
        .filter(|role| run.wants(&system_step(**role)))
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

fn system_step(role: Role) -> String {
    format!("system tests ({})", role.name())
}

/// Builds what the machines run, before anything else is built beside them.
fn build_for_machines() -> Result<Count> {
    ebpf::build_release()?;
    ebpf::build_example()?;
    for (test, _) in PROFILER_TESTS {
        ebpf::build_profiler_tests(test)?;
    }
    Ok(Count::PASSED)
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
        machine = with_prometheus(machine)?;
    }
    for (test, place) in PROFILER_TESTS {
        machine = machine.file(ebpf::build_profiler_tests(test)?, place);
    }
    let words: Vec<&str> = filter.into_iter().collect();
    in_machine(role.name(), &machine, &words)
}

fn no_loads(filter: Option<&str>) -> Result<Count> {
    let machine = with_prometheus(machine(Role::Newest))?;
    let words: Vec<&str> = ["no-loads"].into_iter().chain(filter).collect();
    in_machine("no loads", &machine, &words)
}

fn faults(filter: Option<&str>) -> Result<Count> {
    // Ten thousand processes want more than the machine has usually.
    let machine = machine(Role::Newest).memory("4G");
    let words: Vec<&str> = ["faults"].into_iter().chain(filter).collect();
    in_machine("faults", &machine, &words)
}

fn with_prometheus(machine: Machine) -> Result<Machine> {
    let programs = prometheus::ensure()?;
    let programs = programs.into_iter();
    Ok(programs.fold(machine, |machine, (name, program)| {
        machine.file(program, format!("usr/bin/{name}"))
    }))
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
