//! Switches that fail, or are not wanted any more.

use super::*;

#[test]
fn a_scheduler_that_cannot_be_ended_has_failed_and_is_not_asked_all_the_time() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.windows(8, 0.0, 0.0);
    let stuck = machine.state.running().cloned();
    machine.state.switching = Some(Switch {
        to: Candidate::Kernel,
        reason: String::new(),
        cancelled: false,
        precedence: Precedence::LOWEST,
        counts: true,
    });
    machine.now += Duration::from_secs(60);
    machine.happens(Event::SwitchFailed {
        to: Candidate::Kernel,
        error: "does not end".into(),
        fault: Fault::Old,
        left: stuck,
    });
    let before = machine.switches.len();
    machine.windows(20, 0.0, 0.0);
    assert_eq!(machine.switches.len(), before);
    assert!(
        machine
            .state
            .reason()
            .contains("bpfland cannot be ended: does not end")
    );
    assert_eq!(machine.quarantined(), ["bpfland"]);
    machine.windows(200, 0.0, 0.0);
    assert_eq!(machine.running(), "kernel");
}

#[test]
fn a_switch_that_failed_through_nobodys_fault_is_not_tried_again_at_once() {
    let mut machine = Machine::new();
    machine.state.switching = Some(Switch {
        to: Candidate::Kernel,
        reason: String::new(),
        cancelled: false,
        precedence: Precedence::LOWEST,
        counts: true,
    });
    machine.happens(Event::SwitchFailed {
        to: Candidate::Scheduler(scheduler("bpfland")),
        error: "somebody was faster".into(),
        fault: Fault::Nobody,
        left: None,
    });
    machine.windows(16, 1.0, 0.0);
    assert_eq!(machine.switches, []);
    assert!(
        machine
            .state
            .reason()
            .contains("waits a moment after a switch that failed")
    );
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn a_decision_that_changes_cancels_the_switch_once_and_pauses() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    let old = machine.state.running().cloned();
    machine.now += Duration::from_secs(60);
    let cosmos = Candidate::Scheduler(scheduler("cosmos"));
    machine.state.switching = Some(Switch {
        to: cosmos.clone(),
        reason: String::new(),
        cancelled: false,
        precedence: Precedence::LOWEST,
        counts: true,
    });
    let cancels = |machine: &mut Machine| {
        let event = Event::Window {
            dt: WINDOW,
            signals: Signals::default(),
        };
        machine.decides(event) == [Action::Cancel]
    };
    assert!(cancels(&mut machine));
    assert!(!cancels(&mut machine), "once is enough");
    machine.happens(Event::SwitchFailed {
        to: cosmos,
        error: "cancelled".into(),
        fault: Fault::Cancelled,
        left: old,
    });
    assert_eq!(machine.running(), "bpfland");
    assert_eq!(machine.state.last_error(), "");
    machine.windows(16, 0.0, 1.0);
    assert!(machine.state.reason().contains("waits a moment"));
}
