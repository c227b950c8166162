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

/// A load begins and ends again and again, so soon that no scheduler is loaded by then. Returns when each began to load, from the
/// beginning of its load on.
fn brief_loads(machine: &mut Machine, loads: u32) -> Vec<Duration> {
    let mut began = Vec::new();
    for _ in 0..loads {
        let begin = machine.now;
        for high in [&[Signal::Cpu][..], &[]] {
            for _ in 0..24 {
                match &window(machine, high)[..] {
                    [] => {}
                    [Action::Switch { .. }] => began.push(machine.now - begin),
                    [Action::Cancel] => {
                        machine.decides(Event::SwitchFailed {
                            to: Candidate::Scheduler(scheduler("bpfland")),
                            error: "cancelled".into(),
                            fault: Fault::Cancelled,
                            left: None,
                        });
                    }
                    actions => panic!("{actions:?}"),
                }
            }
        }
    }
    began
}

#[test]
fn where_loads_end_while_a_scheduler_loads_the_next_ones_have_to_last_first() {
    let mut machine = Machine::new();
    let began = brief_loads(&mut machine, 40);
    // The first two at once, the third after 5 s; none lasts for the 10 s that come then.
    let [first, second, third] = began[..] else {
        panic!("{began:?}")
    };
    assert!(first < SECOND && second < SECOND, "{began:?}");
    assert!(
        third >= 5 * SECOND && third < 6 * SECOND + WINDOW,
        "{began:?}"
    );
    // One that lasts has its scheduler, and then everything is as it was.
    let begin = machine.now;
    let to = loop {
        if let [Action::Switch { to, .. }] = &window(&mut machine, &[Signal::Cpu])[..] {
            break to.clone();
        }
        let waits = machine.state.reason();
        let says = waits.contains("has lasted for 10s, as others ended");
        assert!(says || machine.state.class() == "idle", "{waits}");
    };
    let waited = machine.now - begin;
    assert!(
        waited >= 10 * SECOND && waited < 11 * SECOND + WINDOW,
        "{waited:?}"
    );
    machine.has_loaded_bpfland(to);
    assert_eq!(machine.running(), "bpfland");
    machine.windows(80, 0.0, 0.0);
    assert_eq!(machine.running(), "kernel");
    let begin = machine.now;
    machine.windows(4, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    assert!(machine.now - begin <= SECOND);
}

#[test]
fn after_loads_that_were_brief_a_person_and_an_application_wait_for_nothing() {
    let pinned = Event::Pinned {
        to: candidates(&["flash"]).swap_remove(0),
        lasts: None,
        by: None,
    };
    let leased = Event::Leased(Lease::new(
        1,
        candidates(&["flash"]).swap_remove(0),
        "game".into(),
        String::new(),
    ));
    for asked in [pinned, leased] {
        let mut machine = Machine::new();
        brief_loads(&mut machine, 8);
        let actions = machine.decides(asked);
        assert!(
            matches!(&actions[..], [Action::Switch { .. }]),
            "{actions:?}"
        );
    }
}

#[test]
fn what_a_person_cancels_says_nothing_of_the_load() {
    let mut machine = Machine::new();
    for _ in 0..4 {
        machine.now += 60 * SECOND;
        let to = machine.begins_to_switch_for(Signal::Net);
        let pinned = Event::Pinned {
            to: Candidate::Kernel,
            lasts: None,
            by: None,
        };
        assert_eq!(machine.decides(pinned), [Action::Cancel]);
        machine.decides(Event::SwitchFailed {
            to,
            error: "cancelled".into(),
            fault: Fault::Cancelled,
            left: None,
        });
        for _ in 0..40 {
            assert_eq!(window(&mut machine, &[]), []);
        }
        assert_eq!(machine.decides(Event::Unpinned), []);
    }
    assert_eq!(
        machine.state.brief_loads.needed(machine.now),
        Duration::ZERO
    );
}
