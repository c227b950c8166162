//! Pins, holds, leases and sleep: what people and applications ask for beside the policy.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

impl Machine {
    fn pin(&mut self, name: &str, lasts: Option<Duration>) {
        let to = candidates(&[name]).swap_remove(0);
        self.happens(Event::Pinned {
            to,
            lasts,
            by: None,
        });
    }

    fn hold(&mut self, cookie: u32) {
        self.happens(Event::Held {
            cookie,
            application: "game".into(),
            reason: "plays".into(),
        });
    }
}

#[test]
fn a_pin_is_carried_out_at_once_and_outlives_every_load() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    machine.pin("flash", None);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Pinned, "flash")
    );
    machine.windows(400, 0.0, 1.0);
    assert_eq!(machine.running(), "flash");
    assert_eq!(machine.state.reason(), "pinned");
    machine.pin("kernel", None);
    assert_eq!(machine.running(), "kernel");
    machine.windows(400, 1.0, 0.0);
    assert_eq!(machine.running(), "kernel");
    machine.happens(Event::Unpinned);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "bpfland")
    );
}

#[test]
fn a_pin_with_a_time_ends_by_itself() {
    let mut machine = Machine::new();
    machine.pin("flash", Some(MINUTE));
    machine.windows(4 * 59, 0.0, 0.0);
    assert_eq!(machine.running(), "flash");
    assert_eq!(machine.state.reason(), "pinned for 1m");
    machine.windows(8, 0.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "kernel")
    );
}

#[test]
fn the_end_of_a_pin_brings_back_the_one_before_it_at_once() {
    let mut machine = Machine::new();
    machine.policy.stability.min_run = 10 * MINUTE;
    machine.pin("cosmos", Some(60 * MINUTE));
    machine.pin("flash", Some(2 * MINUTE));
    let explained = explain(&machine.policy, &machine.state, machine.now);
    assert_eq!(
        explained.would_change,
        ["the end of the pin, in 2m, when cosmos is pinned as before, or `auto-ext unpin`"]
    );
    machine.windows(4 * 119, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
    machine.windows(4, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Pinned, "cosmos")
    );
    assert_eq!(machine.state.reason(), "pinned for 1h");
    machine.windows(4 * 60 * 58, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "bpfland")
    );
}

#[test]
fn the_end_of_all_pins_is_the_end_of_those_before_them_too() {
    let mut machine = Machine::new();
    machine.pin("cosmos", None);
    machine.pin("flash", Some(MINUTE));
    machine.happens(Event::Unpinned);
    assert_eq!(machine.state.mode(), &Mode::Auto);
    machine.windows(4 * 70, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "bpfland")
    );
}

#[test]
fn a_pin_ends_in_its_time_though_the_machine_sleeps_meanwhile() {
    let mut machine = Machine::new();
    machine.pin("cosmos", None);
    machine.pin("flash", Some(30 * MINUTE));
    machine.windows(8, 0.0, 0.0);
    machine.happens(Event::FallsAsleep);
    machine.sleeps(29 * MINUTE);
    machine.happens(Event::WakesUp);
    machine.windows(80, 0.0, 0.0);
    assert_eq!(machine.running(), "flash");
    machine.sleeps(8 * 60 * MINUTE);
    machine.windows(4, 0.0, 0.0);
    assert!(
        machine.state.reason().contains("woke up"),
        "{}",
        machine.state.reason()
    );
    machine.windows(20, 0.0, 0.0);
    assert_eq!(machine.running(), "cosmos");
}

#[test]
fn the_minimum_and_the_wait_for_others_count_only_while_the_machine_is_awake() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.sleeps(8 * 60 * MINUTE);
    machine.windows(4 * 10, 0.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("idle", "bpfland")
    );
    machine.windows(4 * 10, 0.0, 0.0);
    assert_eq!(machine.running(), "kernel");

    let homemade = KernelState::Enabled {
        ops: "homemade".into(),
    };
    machine.kernel(homemade);
    machine.now += WINDOW;
    // It leaves for the time of sleep, and loads again.
    machine.sleeps(8 * 60 * MINUTE);
    machine.kernel(KernelState::Disabled);
    machine.windows(4 * 10, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Yielded, "kernel")
    );
    machine.windows(4 * 10, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn a_pin_that_fails_at_first_is_no_pin_and_what_ran_stays() {
    let mut machine = Machine::new();
    machine.broken = ["flash".to_owned()].into();
    machine.windows(8, 1.0, 0.0);
    machine.pin("cosmos", None);
    machine.state.switching = Some(Switch {
        to: candidates(&["flash"]).swap_remove(0),
        reason: String::new(),
        unwanted_since: None,
        cancelled: false,
        precedence: Precedence::Pin,
        counts: Counts::Nowhere,
        trial: false,
    });
    machine.pin("flash", None);
    machine.happens(Event::SwitchFailed {
        to: candidates(&["flash"]).swap_remove(0),
        error: "refused".into(),
        fault: Fault::New(Cause::NotLoaded),
        left: Some(scheduler("cosmos")),
    });
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Pinned, "cosmos")
    );
    assert_eq!(machine.state.last_error(), "flash: refused");
    let before = machine.switches.len();
    machine.windows(200, 1.0, 0.0);
    assert_eq!(
        (before, machine.running()),
        (machine.switches.len(), "cosmos")
    );
}

#[test]
fn a_pin_with_arguments_that_it_does_not_take_leaves_alone_what_runs_without_them() {
    let mut machine = Machine::new();
    machine.pin("flash", None);
    let to = Candidate::Scheduler(Scheduler {
        args: vec!["--nonsense".into()],
        ..scheduler("flash")
    });
    let asked = Event::Pinned {
        to: to.clone(),
        lasts: None,
        by: None,
    };
    let actions = machine.decides(asked);
    assert!(
        matches!(&actions[..], [Action::Switch { .. }]),
        "{actions:?}"
    );
    assert_eq!(machine.state.reason(), "pinned; flash is being brought in");
    machine.happens(Event::SwitchFailed {
        to,
        error: "refused".into(),
        fault: Fault::New(Cause::NotLoaded),
        left: Some(scheduler("flash")),
    });
    machine.windows(8, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Pinned, "flash")
    );
    assert_eq!(machine.state.desired().name(), "flash");
}

#[test]
fn a_pinned_scheduler_that_dies_gives_way_to_the_kernels_and_comes_back() {
    let mut machine = Machine::new();
    machine.pin("flash", None);
    machine.dies();
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Pinned, "kernel")
    );
    machine.windows(200, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
}

#[test]
fn a_person_may_try_again_what_failed_and_change_their_mind_as_often_as_they_like() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.dies();
    machine.pin("bpfland", None);
    assert_eq!(machine.running(), "bpfland");
    for _ in 0..50 {
        machine.pin("flash", None);
        assert_eq!(machine.running(), "flash");
        machine.pin("cosmos", None);
        assert_eq!(machine.running(), "cosmos");
    }
    machine.happens(Event::Unpinned);
    machine.windows(100, 0.0, 0.0);
    assert_eq!(machine.running(), "kernel");
}

#[test]
fn when_all_switches_are_used_up_the_end_of_a_pin_still_brings_the_kernels_back() {
    let mut machine = Machine::new();
    machine.policy.stability.max_switches_per_hour = 2;
    machine.windows(8, 1.0, 0.0);
    machine.windows(80, 0.0, 0.0);
    assert_eq!((machine.switches.len(), machine.running()), (2, "kernel"));
    for _ in 0..3 {
        machine.pin("flash", None);
        machine.happens(Event::Unpinned);
        assert_eq!(machine.running(), "flash");
        machine.windows(80, 0.0, 0.0);
        assert_eq!(machine.running(), "kernel");
    }
    assert_eq!(machine.switches.len(), 2);
}

#[test]
fn a_pin_takes_the_place_of_a_foreign_scheduler_and_a_rule_does_not() {
    let mut machine = Machine::new();
    machine.kernel(KernelState::Enabled {
        ops: "homemade".into(),
    });
    machine.windows(20, 1.0, 0.0);
    let event = Event::Pinned {
        to: Candidate::Kernel,
        lasts: None,
        by: None,
    };
    let (_, actions) = decide(&machine.policy, &machine.state, event, machine.now);
    assert!(
        matches!(
            &actions[..],
            [Action::Switch {
                to: Candidate::Kernel,
                replace_foreign: true,
                ..
            }]
        ),
        "{actions:?}"
    );
    machine.pin("flash", None);
    assert_eq!(machine.running(), "flash");
}

#[test]
fn a_hold_keeps_what_runs_until_the_last_one_ends() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.hold(1);
    machine.hold(2);
    machine.windows(400, 0.0, 1.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Held, "bpfland")
    );
    assert_eq!(machine.state.reason(), "held by game (plays) and 1 more");
    machine.happens(Event::Released { cookie: 1 });
    machine.windows(8, 0.0, 1.0);
    assert_eq!(machine.running(), "bpfland");
    machine.happens(Event::Released { cookie: 2 });
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "cosmos")
    );
}

/// A switch from bpfland to cosmos is on its way when a hold begins, and ends by `event`.
fn held_during_a_switch(end: impl FnOnce(&mut Machine, Candidate)) -> Machine {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.now += MINUTE;
    machine.windows(1, 1.0, 0.0);
    let to = machine.begins_to_switch_for(Signal::Net);
    let held = machine.decides(Event::Held {
        cookie: 1,
        application: "game".into(),
        reason: "plays".into(),
    });
    assert_eq!(held, [], "it is not cancelled");
    end(&mut machine, to);
    machine
}

fn fails(fault: Fault) -> impl FnOnce(&mut Machine, Candidate) {
    move |machine, to| {
        machine.happens(Event::SwitchFailed {
            to,
            error: "refused".into(),
            fault,
            left: Some(scheduler("bpfland")),
        });
    }
}

#[test]
fn a_hold_during_a_switch_holds_what_comes_of_it_and_forces_nothing() {
    let mut machine = held_during_a_switch(|machine, to| {
        machine.process = Some(scheduler("cosmos"));
        machine.happens(Event::Switched { to });
    });
    machine.windows(400, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Held, "cosmos")
    );
    for fault in [
        Fault::New(Cause::NotLoaded),
        Fault::New(Cause::TooSlow),
        Fault::Nobody,
        Fault::Cancelled,
    ] {
        let mut machine = held_during_a_switch(fails(fault));
        let before = machine.switches.len();
        machine.windows(4 * 600, 0.0, 1.0);
        assert_eq!(
            (
                machine.state.mode(),
                machine.running(),
                machine.switches.len()
            ),
            (&Mode::Held, "bpfland", before),
            "{fault:?}: {}",
            machine.state.reason()
        );
        machine.happens(Event::Released { cookie: 1 });
        machine.windows(80, 0.0, 1.0);
        assert_eq!(machine.running(), "cosmos", "{fault:?}");
    }
}

#[test]
fn a_hold_during_a_switch_that_is_cancelled_too_late_holds_what_came_in() {
    let mut machine = held_during_a_switch(|machine, to| {
        assert_eq!(machine.decides(Event::FallsAsleep), [Action::Cancel]);
        machine.process = Some(scheduler("cosmos"));
        machine.happens(Event::Switched { to });
        machine.happens(Event::WakesUp);
    });
    let before = machine.switches.len();
    machine.windows(400, 1.0, 0.0);
    assert_eq!(
        (machine.running(), machine.switches.len()),
        ("cosmos", before)
    );
}

#[test]
fn a_pin_during_such_a_hold_overrules_it_and_what_came_of_the_switch_is_held_after_it() {
    let mut machine = held_during_a_switch(|machine, to| {
        let pinned = machine.decides(Event::Pinned {
            to: candidates(&["flash"]).swap_remove(0),
            lasts: None,
            by: None,
        });
        assert_eq!(pinned, [Action::Cancel]);
        fails(Fault::Cancelled)(machine, to);
    });
    assert_eq!(machine.running(), "flash");
    machine.happens(Event::Unpinned);
    machine.windows(80, 0.0, 1.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Held, "bpfland")
    );
}

#[test]
fn a_pin_overrules_a_hold_which_comes_back_after_it() {
    let mut machine = Machine::new();
    machine.hold(1);
    machine.windows(20, 1.0, 0.0);
    assert_eq!(machine.running(), "kernel");
    machine.pin("flash", None);
    assert_eq!(machine.running(), "flash");
    machine.happens(Event::Unpinned);
    machine.windows(80, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Held, "kernel")
    );
}

#[test]
fn nothing_is_switched_around_sleep_and_what_is_measured_then_does_not_count() {
    let mut machine = Machine::new();
    machine.windows(8, 0.0, 0.0);
    machine.happens(Event::FallsAsleep);
    machine.windows(40, 1.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("idle", "kernel")
    );
    machine.happens(Event::WakesUp);
    machine.windows(8, 1.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("cpu", "kernel")
    );
    assert!(machine.state.reason().contains("woke up"));
    machine.windows(20, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn another_policy_is_in_force_at_once_and_restarts_nothing_that_it_would_choose_too() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.happens(Event::PolicyProblem {
        error: "line 3".into(),
    });
    let before = machine.switches.len();
    let renamed = Scheduler {
        name: "fast".into(),
        ..scheduler("bpfland")
    };
    machine.policy.rules[1].class = "work".into();
    machine.policy.rules[1].candidates = vec![Candidate::Scheduler(renamed.clone())];
    machine.state.installed.insert("fast".into());
    machine.happens(Event::PolicyChanged);
    assert_eq!((machine.state.class(), machine.running()), ("work", "fast"));
    assert_eq!(machine.state.last_error(), "");
    assert_eq!(machine.switches.len(), before);
    machine.policy.rules[1].candidates = candidates(&["kernel"]);
    machine.windows(100, 1.0, 0.0);
    assert_eq!(machine.running(), "kernel");
}
