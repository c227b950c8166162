//! Which candidate runs when the first one dies, cannot be loaded or is not there.

use super::*;

#[test]
fn a_scheduler_that_dies_is_quarantined_and_the_next_candidate_runs() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.dies();
    assert_eq!(machine.running(), "flash");
    assert_eq!(machine.state.last_error(), "bpfland: crashed");
    assert!(
        machine
            .state
            .reason()
            .contains("bpfland is quarantined because it failed: crashed")
    );
    machine.dies();
    assert_eq!(machine.running(), "kernel");
    assert_eq!(machine.quarantined(), ["bpfland", "flash"]);
    machine.windows(200, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn when_nothing_can_be_loaded_the_kernels_scheduler_runs_and_attempts_get_rare() {
    let mut machine = Machine::new();
    machine.broken = ["bpfland", "flash"].map(str::to_owned).into();
    machine.windows(4 * 3600, 1.0, 0.0);
    assert_eq!(machine.running(), "kernel");
    // Of an hour: after 0, 60, 180, 420, 900, 1860 s, for each of the two.
    assert_eq!(machine.switches.len(), 12);
}

#[test]
fn a_scheduler_that_is_not_installed_is_passed_over() {
    let mut machine = Machine::new();
    machine.happens(Event::Installed(["flash".to_owned()].into()));
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
    assert!(machine.state.reason().contains("bpfland is not installed"));
}

#[test]
fn a_running_scheduler_survives_the_replacement_of_its_file() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.happens(Event::Installed(BTreeSet::new()));
    machine.windows(100, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "bpfland")
    );
    machine.windows(100, 0.0, 0.0);
    assert_eq!(machine.running(), "kernel");
}
