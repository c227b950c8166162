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
        unwanted_since: None,
        cancelled: false,
        precedence: Precedence::LOWEST,
        counts: Counts::Hourly,
        trial: false,
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
        unwanted_since: None,
        cancelled: false,
        precedence: Precedence::LOWEST,
        counts: Counts::Hourly,
        trial: false,
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

/// bpfland runs, and cosmos is on its way.
fn between_bpfland_and_cosmos() -> (Machine, Candidate) {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.now += Duration::from_secs(60);
    let cosmos = machine.begins_to_switch_for(Signal::Net);
    (machine, cosmos)
}

/// A window in which only these are high.
fn window(machine: &mut Machine, high: &[Signal]) -> Vec<Action> {
    machine.now += WINDOW;
    let mut signals = Signals::default();
    for signal in high {
        signals.set(*signal, Some(1.0));
    }
    machine.decides(Event::Window {
        dt: WINDOW,
        signals,
    })
}

#[test]
fn a_decision_that_changes_and_lasts_cancels_the_switch_once_and_pauses() {
    let (mut machine, cosmos) = between_bpfland_and_cosmos();
    let old = machine.state.running().cloned();
    let mut cancelled_after = Vec::new();
    let begin = machine.now;
    for _ in 0..40 {
        if window(&mut machine, &[Signal::Cpu]) == [Action::Cancel] {
            cancelled_after.push(machine.now - begin);
        }
    }
    let [after] = cancelled_after[..] else {
        panic!("once is enough: {cancelled_after:?}")
    };
    // The level falls, the class settles, and then it lasts.
    let least = Duration::from_secs(3) + machine.policy.stability.settle;
    assert!(after >= least && after < least + 2 * SECOND, "{after:?}");
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

#[test]
fn a_decision_that_changes_for_a_moment_cancels_nothing() {
    let (mut machine, cosmos) = between_bpfland_and_cosmos();
    for _ in 0..20 {
        let mut wanted_another = false;
        for _ in 0..10 {
            assert_eq!(window(&mut machine, &[Signal::Cpu]), []);
            wanted_another |= *machine.state.desired() != cosmos;
        }
        assert!(wanted_another);
        for _ in 0..4 {
            assert_eq!(window(&mut machine, &[Signal::Net]), []);
        }
        assert_eq!(*machine.state.desired(), cosmos);
    }
}

#[test]
fn the_end_of_the_load_cancels_at_once() {
    let (mut machine, _) = between_bpfland_and_cosmos();
    loop {
        let actions = window(&mut machine, &[]);
        if *machine.state.desired() == Candidate::Kernel {
            assert_eq!(actions, [Action::Cancel]);
            break;
        }
        assert_eq!(actions, []);
    }
}

#[test]
fn a_person_and_another_policy_cancel_at_once() {
    let (mut machine, _) = between_bpfland_and_cosmos();
    let pinned = machine.decides(Event::Pinned {
        to: Candidate::Kernel,
        lasts: None,
        by: None,
    });
    assert_eq!(pinned, [Action::Cancel]);
    let (mut machine, _) = between_bpfland_and_cosmos();
    machine.policy = Policy::default();
    assert_eq!(machine.decides(Event::PolicyChanged), [Action::Cancel]);
}

#[test]
fn sleep_cancels_at_once() {
    let (mut machine, _) = between_bpfland_and_cosmos();
    assert_eq!(machine.decides(Event::FallsAsleep), [Action::Cancel]);
}
