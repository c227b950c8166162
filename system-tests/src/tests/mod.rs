//! The system tests. Which of them apply depends on what the machine's kernel is there for.

mod bad_input;
mod classes;
mod command_line;
mod fallback;
mod hot_swap;
mod truth;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

type Test = (&'static str, fn() -> anyhow::Result<()>);

/// On every kernel.
const ALWAYS: &[Test] = &[
    (
        "the_installed_service_starts_and_says_that_the_kernel_schedules",
        truth::the_installed_service_starts_and_says_that_the_kernel_schedules,
    ),
    (
        "bad_policies_are_refused_with_file_line_and_column",
        bad_input::bad_policies_are_refused,
    ),
    (
        "an_invalid_policy_does_not_stop_the_service",
        bad_input::an_invalid_policy_does_not_stop_the_service,
    ),
    (
        "what_is_not_possible_is_said_in_one_line_with_its_exit_code",
        command_line::what_is_not_possible_is_said_in_one_line,
    ),
    (
        "levels_prints_every_signal",
        command_line::levels_prints_every_signal,
    ),
    (
        "observing_starts_nothing",
        command_line::observing_starts_nothing,
    ),
    (
        "without_sched_ext_it_observes_and_says_so",
        command_line::without_sched_ext_it_observes_and_says_so,
    ),
];

/// On kernels that load schedulers.
const LOADING: &[Test] = &[
    (
        "each_load_gets_its_class_with_the_shipped_policy",
        classes::with_the_shipped_policy,
    ),
    (
        "each_class_gets_its_own_scheduler",
        classes::with_a_scheduler_per_class,
    ),
    (
        "d_bus_says_what_the_kernel_says_when_a_scheduler_is_killed",
        truth::d_bus_says_what_the_kernel_says_when_a_scheduler_is_killed,
    ),
    (
        "every_switch_is_announced",
        truth::every_switch_is_announced,
    ),
    (
        "a_foreign_scheduler_is_left_alone_until_it_leaves",
        truth::a_foreign_scheduler_is_left_alone_until_it_leaves,
    ),
    (
        "the_old_scheduler_runs_until_the_new_one_is_loaded",
        hot_swap::the_old_scheduler_runs_until_the_new_one_is_loaded,
    ),
    (
        "when_the_new_scheduler_fails_the_old_one_runs_on_untouched",
        hot_swap::when_the_new_scheduler_fails_the_old_one_runs_on_untouched,
    ),
    (
        "stopping_the_service_leaves_nothing_behind",
        truth::stopping_leaves_nothing_behind,
    ),
    (
        "a_scheduler_that_cannot_start_gives_way_to_the_next_candidate",
        fallback::a_scheduler_that_cannot_start_gives_way,
    ),
];

/// On kernels that refuse every scheduler.
const REFUSING: &[Test] = &[(
    "where_no_scheduler_can_load_the_kernels_own_is_left_in_peace",
    fallback::where_no_scheduler_can_load_the_kernels_own_is_left_in_peace,
)];

/// Runs the tests that the command line selects.
pub(crate) fn run() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // There is one machine, one service, one kernel.
    arguments.test_threads = Some(1);
    let role = std::env::var("AUTO_EXT_KERNEL_ROLE").unwrap_or_default();
    let of_role = match role.as_str() {
        "newest" | "oldest" => LOADING,
        "refusing" => REFUSING,
        _ => panic!("AUTO_EXT_KERNEL_ROLE is `{role}`, not newest, oldest or refusing"),
    };
    let trials = ALWAYS
        .iter()
        .chain(of_role)
        .map(|(name, test)| {
            Trial::test(*name, move || {
                test().map_err(|error| format!("{error:?}").into())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
