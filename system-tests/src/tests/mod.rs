//! The system tests. Which of them apply depends on what the machine's kernel is there for.

mod applications;
mod bad_input;
mod classes;
mod command_line;
mod compare;
mod core_scheduling;
mod failed_swaps;
mod failures;
mod fallback;
mod faults;
mod foresight;
mod foresight_faults;
mod foresight_moves;
mod hardware;
mod hot_swap;
pub(crate) mod leaks;
mod leases;
mod library;
mod loader;
mod metrics;
mod notices;
mod org_scx_loader;
mod other_tools;
mod ownership;
mod packages;
mod people;
mod profiler;
mod sharing_cores;
mod sizes;
pub(crate) mod soak;
mod soak_trials;
mod sources;
pub(crate) mod trials;
mod truth;
mod user_space;
mod virtual_machines;
mod watching;
mod ways;
mod while_loading;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

use crate::service;

type Test = (&'static str, fn() -> anyhow::Result<()>);

/// Tests by their paths, which are their names.
macro_rules! tests {
    ($($test:path),* $(,)?) => { &[$((stringify!($test), $test)),*] };
}

/// On every kernel.
const EVERYWHERE: &[Test] = tests![
    truth::the_installed_service_starts_and_says_that_the_kernel_schedules,
    command_line::what_is_not_possible_is_said_in_one_line,
    command_line::levels_prints_every_signal,
    command_line::levels_tells_how_long_tasks_wait,
    command_line::without_sched_ext_it_observes_and_says_so,
];

/// On kernels that load schedulers: what depends on the kernel.
const LOADING: &[Test] = tests![
    truth::d_bus_says_what_the_kernel_says_when_a_scheduler_is_killed,
    hot_swap::the_old_scheduler_runs_until_the_new_one_is_loaded,
    hot_swap::when_the_new_scheduler_fails_the_old_one_runs_on_untouched,
    hardware::a_scheduler_that_loads_itself_again_when_cpus_come_and_go_is_not_fought,
    applications::applications_bring_their_scheduler_by_name_path_and_cgroup,
    failed_swaps::whatever_fails_while_it_loads_costs_the_old_scheduler_nothing,
    failed_swaps::one_that_fails_once_it_may_attach_leaves_the_kernels_own,
    while_loading::when_a_cpu_goes_meanwhile_the_new_one_is_loaded_again,
    while_loading::an_old_scheduler_that_hangs_is_killed_once_the_new_one_is_loaded,
    ways::where_there_can_be_no_attach_barrier_the_old_one_leaves_first_and_the_history_says_why,
    foresight::with_24_hogs_in_two_llcs_each_gets_its_share_and_it_leaves_when_asked,
    foresight::however_heavy_others_are_nobody_waits_for_as_long_as_the_kernel_suffers,
    foresight::a_task_that_can_be_predicted_gets_a_line_and_one_that_asks_is_told_why,
    foresight::who_starts_without_a_model_learns_and_then_acts_by_itself,
    foresight_faults::the_daemon_swaps_to_and_from_it_under_load_whatever_its_model_file_has,
    foresight_faults::when_its_user_space_stops_averages_count_and_nobody_waits,
    foresight_faults::ten_thousand_short_processes_and_cpus_that_go_and_come_back_leave_it_at_work,
    foresight_moves::moves_are_recorded_with_what_came_of_them_and_a_planted_network_decides,
    foresight_moves::whatever_a_network_says_none_of_24_hogs_starves,
    profiler::processes_are_followed,
    profiler::outcomes_are_what_tasks_waited,
    profiler::what_is_measured_is_what_the_kernel_counts,
    failures::sysrq_brings_the_safe_mode_until_a_person_ends_it,
    truth::stopping_leaves_nothing_behind,
    fallback::a_scheduler_that_cannot_start_gives_way,
];

/// On the oldest kernel only: on the newest are more schedulers, and the soak.
const OLDEST: &[Test] = tests![
    classes::with_the_shipped_policy,
    leaks::swaps_leave_nothing_behind,
];

/// On the newest kernel only: what would be the same on any other, and judges a load or a time.
const ONCE: &[Test] = tests![
    truth::a_foreign_scheduler_is_left_alone_until_it_leaves,
    classes::with_a_scheduler_per_class,
    command_line::a_recorded_load_is_replayed_by_anybody,
    command_line::what_was_measured_can_be_labelled_and_sent,
    command_line::observing_starts_nothing,
    truth::every_switch_is_announced,
    people::a_pin_outlives_loads_and_reload_and_ends_in_its_time,
    people::a_scheduler_that_takes_a_minute_to_load_can_be_pinned,
    people::a_hold_keeps_what_runs_and_ends_with_its_caller,
    hardware::nothing_is_decided_while_the_machine_sleeps,
    other_tools::a_daemon_that_is_killed_takes_its_scheduler_along_and_comes_back,
    applications::the_battery_overrules_the_load_and_a_game_the_battery,
    applications::edits_are_in_force_at_once_and_twenty_a_second_restart_nothing,
    watching::watch_shows_loads_switches_and_restarts_on_terminals_of_any_size,
    watching::watch_takes_little_and_gives_the_terminal_back,
    user_space::under_load_it_gets_in_runs_on_and_the_daemon_answers,
    metrics::metrics_are_good_and_outlive_the_daemon,
    trials::a_scheduler_is_tried_beside_the_load_and_whoever_wants_something_ends_that_at_once,
];

/// On the newest kernel only, in a machine of their own: what judges neither loads nor times, so that others may use the
/// host meanwhile.
const NO_LOADS: &[Test] = tests![
    bad_input::bad_policies_are_refused,
    bad_input::an_invalid_policy_does_not_stop_the_service,
    command_line::colours_are_for_terminals_where_no_color_is_not_set,
    command_line::what_the_service_cannot_use_all_commands_say_in_the_same_words,
    library::the_example_swaps_two_schedulers_without_the_daemon,
    people::only_who_may_changes_something_and_everybody_reads,
    people::a_hold_outlives_the_daemon_and_never_leaves_its_command_behind,
    ownership::a_scheduler_may_be_a_link_a_copy_or_a_script_and_be_known_to_nobody,
    ownership::bpf_operations_that_are_no_scheduler_are_left_alone,
    leases::a_lease_lasts_as_long_as_its_caller_and_min_run_does_not_keep_it,
    leases::what_cannot_be_leased_now_keeps_no_command_from_running,
    leases::a_person_at_the_machine_leases_what_the_policy_names_without_a_password,
    leases::a_game_that_gamemode_knows_has_what_its_class_would_use,
    leases::what_scx_service_would_start_can_be_a_lease,
    compare::a_comparison_that_is_killed_leaves_neither_its_scheduler_nor_its_command,
    compare::a_comparison_of_roots_has_switches_of_its_own,
    compare::arguments_are_tried_in_rounds_and_the_best_meets_the_kernel,
    compare::how_long_tasks_wait_is_measured_in_each_turn_and_nothing_of_that_is_left,
    compare::the_load_that_runs_is_compared_by_what_it_waits,
    compare::what_a_comparison_found_is_kept_exported_forgotten_and_imported,
    compare::without_a_daemon_root_compares_and_leaves_the_kernels_own_scheduler,
    compare::two_schedulers_are_compared_and_the_choice_of_the_policy_is_back_afterwards,
    org_scx_loader::scxctl_does_what_it_says_and_sees_what_is_true,
    org_scx_loader::who_puts_back_what_ran_leaves_the_choice_to_the_policy,
    org_scx_loader::scx_loader_stays_down_while_its_interface_is_offered,
    other_tools::a_pin_takes_the_place_of_a_foreign_scheduler,
    other_tools::a_policy_may_say_that_foreign_schedulers_are_replaced,
    loader::scx_loader_is_not_woken,
    loader::what_scx_loader_runs_is_left_alone_until_it_is_stopped,
    loader::a_pin_takes_over_from_scx_loader,
    core_scheduling::without_smt_core_scheduling_is_of_no_account,
    sources::a_power_profile_counts_as_long_as_somebody_says_it,
    trials::a_table_that_makes_no_sense_is_set_aside_and_nothing_is_tried_where_the_policy_says_off,
    applications::a_program_is_known_by_its_launcher_through_one_that_ended,
    applications::a_file_beside_the_policy_brings_a_list_of_programs_and_takes_it_along,
    failed_swaps::what_cannot_be_started_is_refused_at_once,
    failed_swaps::whose_file_asks_for_more_than_the_service_may_have_is_refused_with_the_remedy,
    failed_swaps::one_that_hangs_while_it_loads_is_ended_when_nobody_wants_it_any_more,
    while_loading::a_changed_decision_ends_what_is_loading,
    while_loading::when_the_old_scheduler_dies_meanwhile_the_new_one_gets_in,
    while_loading::of_two_requests_at_once_one_is_carried_out,
    while_loading::stopping_the_service_while_it_switches_leaves_nothing_behind,
    failures::a_failure_is_remembered_until_it_is_reset_or_its_program_replaced,
    failures::a_renamed_scheduler_that_dies_is_noticed_at_once_and_quarantined_by_each_name,
    failures::one_that_leaves_when_asked_has_not_failed_whatever_its_status,
    failures::two_boots_that_went_down_bring_the_safe_mode,
    truth::a_scheduler_cannot_change_what_it_has_no_business_with,
    metrics::the_page_says_what_runs_and_what_failed,
    metrics::prometheus_scrapes_it,
    notices::a_user_is_told_that_a_scheduler_failed,
    virtual_machines::without_libvirt_the_service_says_so_in_one_line_and_changes_nothing,
];

/// What can go wrong, in a machine of their own; see docs/faults.md.
const FAULTS: &[Test] = tests![
    faults::schedulers::a_scheduler_that_ends_leaves_the_kernels_own_and_is_not_loaded_again,
    faults::schedulers::a_scheduler_that_will_not_leave_is_killed_once_the_next_is_loaded,
    faults::schedulers::a_scheduler_that_is_stopped_or_spins_does_no_harm,
    faults::schedulers::one_that_writes_without_end_costs_little_and_is_heard_to_the_end,
    faults::daemon::a_daemon_that_is_killed_at_any_step_of_a_swap_leaves_a_sane_machine,
    faults::daemon::a_daemon_that_is_asked_to_leave_at_any_step_of_a_swap_leaves_nothing,
    faults::daemon::a_daemon_that_hangs_is_replaced_by_another,
    faults::daemon::a_second_daemon_says_who_runs_and_changes_nothing,
    faults::daemon::restarts_of_a_healthy_daemon_count_for_nothing_and_one_that_always_fails_stays_down,
    faults::bus::a_flood_of_signals_from_anybody_cuts_no_line,
    faults::bus::a_flood_of_questions_from_anybody_slows_no_decision,
    faults::bus::the_bus_may_be_restarted_stopped_and_hang,
    faults::bus::without_a_bus_at_its_start_it_works_and_gets_there_later,
    faults::disk::a_full_disk_and_a_read_only_one_cost_only_the_file_of_the_history,
    faults::disk::a_full_run_directory_costs_no_scheduler,
    faults::clock::clock_jumps_change_nothing_that_lasts,
    faults::missing::without_watches_edits_of_the_policy_are_found_by_looking,
    faults::missing::what_is_missing_costs_what_needs_it_and_nothing_else,
    faults::processes::floods_of_programs_and_cgroups_hide_no_game,
    faults::processes::among_ten_thousand_processes_a_game_is_found,
    faults::cpus::cpus_go_and_come_back_under_a_scheduler,
];

/// What lasts until the next boot, so that nothing can come after it.
const LAST: &[Test] = tests![faults::missing::a_kernel_that_is_locked_down_is_left_in_peace,];

/// On kernels that refuse every scheduler.
const REFUSING: &[Test] = tests![
    fallback::where_no_scheduler_can_load_the_kernels_own_is_left_in_peace,
    failed_swaps::where_no_scheduler_can_load_every_pin_fails_and_changes_nothing,
];

/// With the packages, where auto-ext is not installed: before the machine is booted anew, and after.
const PACKAGES: [&[Test]; 2] = [
    tests![
        packages::the_deb_starts_and_enables_nothing,
        packages::install_sh_leaves_the_deb_to_dpkg,
        packages::the_service_of_the_deb_starts,
    ],
    tests![
        packages::the_service_of_the_deb_runs_after_a_reboot,
        packages::an_upgrade_of_the_deb_restarts_the_service_and_keeps_the_policy,
        packages::removing_the_deb_stops_everything_and_keeps_the_policy,
        packages::purging_the_deb_leaves_nothing,
        packages::a_deb_that_runs_is_purged_without_a_trace,
        packages::the_archive_installs_what_runs,
        packages::uninstalling_the_archive_leaves_nothing,
    ],
];

/// On machines unlike the one that all others run on.
const SIZES: &[Test] = tests![
    truth::the_installed_service_starts_and_says_that_the_kernel_schedules,
    sizes::signals_are_known_a_game_is_served_and_swaps_are_hot,
];

/// On a machine whose cores have two hardware threads each.
const SMT: &[Test] = tests![
    truth::the_installed_service_starts_and_says_that_the_kernel_schedules,
    core_scheduling::beside_a_cookie_no_scheduler_is_loaded_until_it_has_gone,
    sharing_cores::groups_are_placed_with_all_that_they_start_and_nothing_is_left_whatever_happens,
];

/// The variable that names what has run already, in another machine: names with spaces between.
const DONE: &str = "AUTO_EXT_TESTS_DONE";

/// Runs the tests that the command line selects.
pub(crate) fn run() -> ExitCode {
    let role = std::env::var("AUTO_EXT_KERNEL_ROLE").unwrap_or_default();
    let of_role = match role.as_str() {
        "newest" => [LOADING, ONCE, LAST],
        "oldest" => [LOADING, OLDEST, LAST],
        "refusing" => [REFUSING, &[], LAST],
        _ => panic!("AUTO_EXT_KERNEL_ROLE is `{role}`, not newest, oldest or refusing"),
    };
    let tests = EVERYWHERE.iter().chain(of_role.into_iter().flatten());
    run_all(Arguments::from_args(), tests).exit_code()
}

/// Runs the tests of what can go wrong, those with this in their name if there is a filter.
pub(crate) fn run_faults(filter: &[&str]) -> ExitCode {
    run_filtered(filter, FAULTS)
}

/// Runs the tests that judge neither loads nor times, those with this in their name if there is a filter.
pub(crate) fn run_without_loads(filter: &[&str]) -> ExitCode {
    run_filtered(filter, NO_LOADS)
}

fn run_filtered(filter: &[&str], tests: &'static [Test]) -> ExitCode {
    let arguments = Arguments {
        filter: filter.first().map(|&filter| filter.to_owned()),
        ..Arguments::default()
    };
    run_all(arguments, tests).exit_code()
}

/// Runs the tests for machines of any size.
pub(crate) fn run_on_any_size() -> ExitCode {
    run_all(Arguments::default(), SIZES).exit_code()
}

/// Runs the tests for machines with SMT, those with this in their name if there is a filter.
pub(crate) fn run_with_smt(filter: &[&str]) -> ExitCode {
    run_filtered(filter, SMT)
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
    let done = std::env::var(DONE).unwrap_or_default();
    let is_left = |(name, _): &&Test| !done.split(' ').any(|done| done == *name);
    let trial = |(name, test): &'static Test| {
        Trial::test(*name, move || {
            test().map_err(|error| {
                // At once: the machine may not live until the end.
                eprintln!("\n---- {name} ----\n{error:?}\n{}", service::last_words());
                service::end_what_is_left();
                Failed::without_message()
            })
        })
    };
    libtest_mimic::run(
        &arguments,
        tests.into_iter().filter(is_left).map(trial).collect(),
    )
}
