//! What measured loads bring, and how soon.

use super::*;

#[test]
fn a_load_brings_its_scheduler_and_its_end_brings_the_kernels_back() {
    let mut machine = Machine::new();
    machine.windows(4, 0.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("idle", "kernel")
    );
    machine.windows(8, 1.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("cpu", "bpfland")
    );
    machine.windows(80, 0.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("idle", "kernel")
    );
    assert_eq!(machine.switches.len(), 2);
}

#[test]
fn a_scheduler_stays_for_its_minimum_and_says_so() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.windows(12, 0.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("idle", "bpfland")
    );
    assert!(
        machine
            .state
            .reason()
            .contains("bpfland stays until it has run for 15s")
    );
    assert_eq!(*machine.state.desired(), Candidate::Kernel);
}

#[test]
fn a_spike_shorter_than_the_time_of_the_mean_changes_nothing() {
    let mut machine = Machine::new();
    machine.windows(8, 0.0, 0.0);
    for _ in 0..20 {
        machine.windows(1, 1.0, 0.0);
        machine.windows(4, 0.0, 0.0);
    }
    assert_eq!(machine.switches, []);
}

#[test]
fn a_rule_that_comes_first_takes_over_at_once_and_a_later_one_after_the_settle_time() {
    let mut machine = Machine::new();
    let mut classes = Vec::new();
    for (cpu, net) in [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0)] {
        for window in 1..=12 {
            machine.windows(1, cpu, net);
            let class = machine.state.class();
            if classes.last().is_none_or(|(_, last)| last != class) {
                classes.push((window, class.to_owned()));
            }
        }
    }
    let expected = [
        // Nothing is known before the first window.
        (1, "idle"),
        // Half a second for each level to become high.
        (2, "cpu"),
        (1, "network"),
        // The level of `net` falls with the second window, and five are more than a second.
        (6, "cpu"),
        (5, "idle"),
    ];
    assert_eq!(
        classes,
        expected.map(|(window, class)| (window, class.to_owned()))
    );
}

#[test]
fn a_class_that_comes_back_within_the_settle_time_was_never_lost() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    for _ in 0..20 {
        machine.windows(4, 0.0, 0.0);
        assert_eq!(machine.state.class(), "cpu");
        machine.windows(4, 1.0, 0.0);
    }
}

#[test]
fn without_rules_the_kernels_scheduler_runs_whatever_is_measured() {
    let mut machine = Machine::new();
    machine.policy = Policy::default();
    machine.windows(20, 1.0, 1.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("none", "kernel")
    );
    assert_eq!(machine.switches, []);
}
