//! The system tests. Which of them apply depends on what the machine's kernel is there for.

mod applications;
mod bad_input;
mod classes;
mod command_line;
mod failed_swaps;
mod fallback;
mod hot_swap;
pub(crate) mod leaks;
mod metrics;
mod other_tools;
mod packages;
mod people;
mod truth;
mod watching;
mod ways;
mod while_loading;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Conclusion, Trial};

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
        "a_recorded_load_is_replayed_by_anybody",
        command_line::a_recorded_load_is_replayed_by_anybody,
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
        "only_who_may_changes_something_and_everybody_reads",
        people::only_who_may_changes_something_and_everybody_reads,
    ),
    (
        "a_pin_outlives_loads_and_reload_and_ends_in_its_time",
        people::a_pin_outlives_loads_and_reload_and_ends_in_its_time,
    ),
    (
        "a_hold_keeps_what_runs_and_ends_with_its_caller",
        people::a_hold_keeps_what_runs_and_ends_with_its_caller,
    ),
    (
        "a_pin_takes_the_place_of_a_foreign_scheduler",
        other_tools::a_pin_takes_the_place_of_a_foreign_scheduler,
    ),
    (
        "a_policy_may_say_that_foreign_schedulers_are_replaced",
        other_tools::a_policy_may_say_that_foreign_schedulers_are_replaced,
    ),
    (
        "a_daemon_that_is_killed_takes_its_scheduler_along_and_comes_back",
        other_tools::a_daemon_that_is_killed_takes_its_scheduler_along_and_comes_back,
    ),
    (
        "applications_bring_their_scheduler_by_name_path_and_cgroup",
        applications::applications_bring_their_scheduler_by_name_path_and_cgroup,
    ),
    (
        "the_battery_overrules_the_load_and_a_game_the_battery",
        applications::the_battery_overrules_the_load_and_a_game_the_battery,
    ),
    (
        "edits_are_in_force_at_once_and_twenty_a_second_restart_nothing",
        applications::edits_are_in_force_at_once_and_twenty_a_second_restart_nothing,
    ),
    (
        "whatever_fails_while_it_loads_costs_the_old_scheduler_nothing",
        failed_swaps::whatever_fails_while_it_loads_costs_the_old_scheduler_nothing,
    ),
    (
        "what_cannot_be_started_is_refused_at_once",
        failed_swaps::what_cannot_be_started_is_refused_at_once,
    ),
    (
        "one_that_hangs_while_it_loads_is_ended_when_nobody_wants_it_any_more",
        failed_swaps::one_that_hangs_while_it_loads_is_ended_when_nobody_wants_it_any_more,
    ),
    (
        "one_that_fails_behind_the_door_leaves_the_kernels_own",
        failed_swaps::one_that_fails_behind_the_door_leaves_the_kernels_own,
    ),
    (
        "a_changed_decision_ends_what_is_loading",
        while_loading::a_changed_decision_ends_what_is_loading,
    ),
    (
        "when_the_old_scheduler_dies_meanwhile_the_new_one_gets_in",
        while_loading::when_the_old_scheduler_dies_meanwhile_the_new_one_gets_in,
    ),
    (
        "when_a_cpu_goes_meanwhile_the_new_one_is_loaded_again",
        while_loading::when_a_cpu_goes_meanwhile_the_new_one_is_loaded_again,
    ),
    (
        "an_old_scheduler_that_hangs_is_killed_once_the_new_one_is_loaded",
        while_loading::an_old_scheduler_that_hangs_is_killed_once_the_new_one_is_loaded,
    ),
    (
        "of_two_requests_at_once_one_is_carried_out",
        while_loading::of_two_requests_at_once_one_is_carried_out,
    ),
    (
        "stopping_the_service_while_it_switches_leaves_nothing_behind",
        while_loading::stopping_the_service_while_it_switches_leaves_nothing_behind,
    ),
    (
        "where_there_can_be_no_gate_the_old_one_leaves_first_and_the_history_says_why",
        ways::where_there_can_be_no_gate_the_old_one_leaves_first_and_the_history_says_why,
    ),
    (
        "watch_shows_loads_switches_and_restarts_on_terminals_of_any_size",
        watching::watch_shows_loads_switches_and_restarts_on_terminals_of_any_size,
    ),
    (
        "watch_takes_a_hundredth_of_a_cpu_and_gives_the_terminal_back",
        watching::watch_takes_a_hundredth_of_a_cpu_and_gives_the_terminal_back,
    ),
    (
        "metrics_are_good_and_outlive_the_daemon",
        metrics::metrics_are_good_and_outlive_the_daemon,
    ),
    ("prometheus_scrapes_it", metrics::prometheus_scrapes_it),
    (
        "swaps_leave_nothing_behind",
        leaks::swaps_leave_nothing_behind,
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
const REFUSING: &[Test] = &[
    (
        "where_no_scheduler_can_load_the_kernels_own_is_left_in_peace",
        fallback::where_no_scheduler_can_load_the_kernels_own_is_left_in_peace,
    ),
    (
        "where_no_scheduler_can_load_every_pin_fails_and_changes_nothing",
        failed_swaps::where_no_scheduler_can_load_every_pin_fails_and_changes_nothing,
    ),
];

/// With the packages, where auto-ext is not installed: before the machine is booted anew, and after.
const PACKAGES: [&[Test]; 2] = [
    &[
        (
            "the_deb_starts_and_enables_nothing",
            packages::the_deb_starts_and_enables_nothing,
        ),
        (
            "the_service_of_the_deb_starts",
            packages::the_service_of_the_deb_starts,
        ),
    ],
    &[
        (
            "the_service_of_the_deb_runs_after_a_reboot",
            packages::the_service_of_the_deb_runs_after_a_reboot,
        ),
        (
            "an_upgrade_of_the_deb_restarts_the_service_and_keeps_the_policy",
            packages::an_upgrade_of_the_deb_restarts_the_service_and_keeps_the_policy,
        ),
        (
            "removing_the_deb_stops_everything_and_keeps_the_policy",
            packages::removing_the_deb_stops_everything_and_keeps_the_policy,
        ),
        (
            "purging_the_deb_leaves_nothing",
            packages::purging_the_deb_leaves_nothing,
        ),
        (
            "a_deb_that_runs_is_purged_without_a_trace",
            packages::a_deb_that_runs_is_purged_without_a_trace,
        ),
        (
            "the_archive_installs_what_runs",
            packages::the_archive_installs_what_runs,
        ),
        (
            "uninstalling_the_archive_leaves_nothing",
            packages::uninstalling_the_archive_leaves_nothing,
        ),
    ],
];

/// Runs the tests that the command line selects.
pub(crate) fn run() -> ExitCode {
    let role = std::env::var("AUTO_EXT_KERNEL_ROLE").unwrap_or_default();
    let of_role = match role.as_str() {
        "newest" | "oldest" => LOADING,
        "refusing" => REFUSING,
        _ => panic!("AUTO_EXT_KERNEL_ROLE is `{role}`, not newest, oldest or refusing"),
    };
    let tests = ALWAYS.iter().chain(of_role);
    run_all(Arguments::from_args(), tests).exit_code()
}

/// Runs the tests of the packages: those of this boot, and then the next boot.
pub(crate) fn run_packages() -> ExitCode {
    let second = packages::is_second_boot();
    let conclusion = run_all(Arguments::default(), PACKAGES[usize::from(second)]);
    if second || conclusion.has_failed() {
        return conclusion.exit_code();
    }
    if let Err(error) = packages::reboot() {
        eprintln!("{error:#}");
    }
    ExitCode::FAILURE
}

fn run_all(mut arguments: Arguments, tests: impl IntoIterator<Item = &'static Test>) -> Conclusion {
    // There is one machine, one service, one kernel.
    arguments.test_threads = Some(1);
    let trial = |(name, test): &'static Test| {
        Trial::test(*name, move || {
            test().map_err(|error| format!("{error:?}").into())
        })
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect())
}
