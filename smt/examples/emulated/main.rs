//! What holds of auto-ext-smt on a processor with counters and two hardware threads a core. `cargo xtask test` builds it for aarch64
//! and runs it, as root, in a machine that QEMU emulates instruction by instruction (`-icount`): each takes 2 ns there, and a cycle
//! 1 ns, so that it is known what counters have to say. Nothing here is about how fast a real processor is.

mod counting;
mod cpusets;
mod lacking;
mod pretended;
mod profiling;
mod work;

use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use auto_ext_smt::topology::Topology;
use libtest_mimic::{Arguments, ColorSetting, Failed, Trial};

use work::Offline;

type Test = (&'static str, fn() -> anyhow::Result<()>);

/// The program itself, where the machine has it.
const PROGRAM: &str = "/bin/auto-ext-smt";

const TESTS: [Test; 10] = [
    (
        "the_hardware_threads_of_cores_are_found",
        the_hardware_threads_of_cores_are_found,
    ),
    (
        "counters_are_believed_on_every_cpu",
        counting::counters_are_believed_on_every_cpu,
    ),
    (
        "a_known_number_of_instructions_is_counted",
        counting::a_known_number_of_instructions_is_counted,
    ),
    (
        "processes_are_counted_with_what_they_start_after_both_have_ended",
        counting::processes_are_counted_with_what_they_start_after_both_have_ended,
    ),
    (
        "groups_that_share_the_counters_are_counted_in_proportion",
        counting::groups_that_share_the_counters_are_counted_in_proportion,
    ),
    (
        "what_is_hardly_counted_is_not_believed",
        counting::what_is_hardly_counted_is_not_believed,
    ),
    (
        "who_may_not_count_is_told",
        counting::who_may_not_count_is_told,
    ),
    (
        "no_mask_outlives_a_change_of_the_cpuset",
        cpusets::no_mask_outlives_a_change_of_the_cpuset,
    ),
    (
        "what_the_machine_lacks_each_command_says_in_one_line",
        lacking::what_the_machine_lacks_each_command_says_in_one_line,
    ),
    (
        "a_job_is_profiled_and_runs_everywhere_again_however_that_ends",
        profiling::a_job_is_profiled_and_runs_everywhere_again_however_that_ends,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test has the machine for itself: some switch CPUs off.
    arguments.test_threads = Some(1);
    // What reads the console is no terminal.
    arguments.color = Some(ColorSetting::Never);
    let trial = |(name, test): Test| {
        Trial::test(name, move || {
            test().map_err(|error| Failed::from(format!("{error:#}")))
        })
    };
    let tests = TESTS.into_iter().map(trial).collect();
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// The root below which /sys and /proc are.
fn root() -> &'static Path {
    Path::new("/")
}

fn the_hardware_threads_of_cores_are_found() -> anyhow::Result<()> {
    let cores = || -> anyhow::Result<Vec<String>> {
        let domains = Topology::read(root())?.domains;
        let cores = domains.iter().flat_map(|domain| &domain.cores);
        Ok(cores.map(ToString::to_string).collect())
    };
    let all = cores()?;
    ensure!(all == ["0-1", "2-3"], "{all:?}");
    let _offline = Offline::switch(vec![3])?;
    let left = cores()?;
    ensure!(left == ["0-1"], "{left:?}, without CPU 3");
    Ok(())
}
