//! Leases: what applications want to run for as long as they do.

use super::*;
use crate::Lease;

const MINUTE: Duration = Duration::from_mins(1);

impl Machine {
    fn lease(&mut self, cookie: u32, name: &str) {
        let to = candidates(&[name]).swap_remove(0);
        let lease = Lease::new(cookie, to, "game".into(), "plays".into());
        self.happens(Event::Leased(lease));
    }

    fn turn(&mut self, cookie: u32, name: &str) {
        let to = candidates(&[name]).remove(0);
        let lease = Lease::new(cookie, to, "make".into(), "compares".into());
        self.happens(Event::Leased(lease.for_a_turn()));
    }

    fn explained(&self) -> Explanation {
        explain(&self.policy, &self.state, self.now)
    }

    fn release(&mut self, cookie: u32) {
        self.happens(Event::Released { cookie });
    }

    fn stands(&self) -> (&Mode, &str) {
        (self.state.mode(), self.running())
    }
}

#[test]
fn a_lease_comes_at_once_outlives_every_load_and_goes_at_once() {
    let mut machine = Machine::new();
    machine.policy.stability.min_run = 10 * MINUTE;
    machine.windows(8, 1.0, 0.0);
    machine.lease(1, "flash");
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
    assert_eq!(machine.state.reason(), "leased by game (plays)");
    let explained = explain(&machine.policy, &machine.state, machine.now);
    assert_eq!(explained.would_change, ["the end of the lease of game"]);
    machine.windows(400, 0.0, 1.0);
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
    machine.lease(2, "bpfland");
    machine.release(2);
    machine.release(1);
    assert_eq!(machine.stands(), (&Mode::Auto, "cosmos"));
}

#[test]
fn the_newest_lease_is_in_force_and_the_one_before_it_when_that_ends() {
    let mut machine = Machine::new();
    for (cookie, name) in [(1, "flash"), (2, "cosmos"), (3, "kernel")] {
        machine.lease(cookie, name);
        assert_eq!(machine.stands(), (&Mode::Held, name));
    }
    machine.release(2);
    assert_eq!(machine.stands(), (&Mode::Held, "kernel"));
    machine.release(3);
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
    machine.release(1);
    assert_eq!(machine.stands(), (&Mode::Auto, "kernel"));
}

#[test]
fn a_lease_need_be_neither_in_the_policy_nor_among_what_is_installed_of_it() {
    let mut machine = Machine::new();
    machine.lease(1, "homemade");
    assert_eq!(machine.stands(), (&Mode::Held, "homemade"));
}

#[test]
fn a_pin_overrules_a_lease_which_is_in_force_again_after_it() {
    let mut machine = Machine::new();
    machine.happens(Event::Pinned {
        to: Candidate::Kernel,
        lasts: None,
        by: None,
    });
    machine.lease(1, "flash");
    assert_eq!(machine.stands(), (&Mode::Pinned, "kernel"));
    machine.happens(Event::Unpinned);
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
}

#[test]
fn a_lease_overrules_a_hold_and_a_hold_that_begins_under_it_keeps_what_it_named() {
    let hold = |cookie| Event::Held {
        cookie,
        application: "backup".into(),
        reason: "runs".into(),
    };
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.happens(hold(1));
    machine.lease(2, "flash");
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
    machine.release(2);
    assert_eq!(machine.stands(), (&Mode::Held, "bpfland"));
    machine.release(1);

    machine.lease(3, "flash");
    machine.happens(hold(4));
    machine.release(3);
    machine.windows(400, 0.0, 1.0);
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
}

#[test]
fn a_lease_that_fails_before_it_ran_is_over_and_the_policy_decides() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    for fault in [Fault::New(Cause::NotLoaded), Fault::Nobody] {
        machine.broken = ["flash".to_owned()].into();
        machine.fault = fault;
        machine.lease(1, "flash");
        assert_eq!(machine.stands(), (&Mode::Auto, "bpfland"), "{fault:?}");
        machine.broken.clear();
        machine.now += Duration::from_hours(3);
        machine.windows(80, 1.0, 0.0);
        assert_eq!(machine.stands(), (&Mode::Auto, "bpfland"), "{fault:?}");
        machine.release(1);
    }
}

#[test]
fn while_what_is_leased_is_quarantined_the_policy_decides_and_says_so() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.lease(1, "cosmos");
    machine.lease(2, "flash");
    machine.dies();
    assert_eq!(machine.stands(), (&Mode::Held, "cosmos"));
    assert_eq!(
        machine.state.reason(),
        "leased by game (plays); flash is quarantined because it failed: crashed"
    );
    machine.release(1);
    assert_eq!(machine.stands(), (&Mode::Auto, "bpfland"));
    let reason = machine.state.reason();
    assert!(reason.starts_with("class cpu"), "{reason}");
    assert!(reason.contains("flash is quarantined"), "{reason}");
    machine.windows(4 * 200, 1.0, 0.0);
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
}

#[test]
fn a_lease_does_not_come_back_sooner_than_the_policy_lets_it() {
    let mut machine = Machine::new();
    machine.policy.stability.min_run = 10 * MINUTE;
    machine.windows(8, 1.0, 0.0);
    machine.lease(1, "flash");
    machine.dies();
    machine.windows(4 * 60 * 5, 1.0, 0.0);
    assert_eq!(
        machine.stands(),
        (&Mode::Held, "flash"),
        "a rule is overruled"
    );
    machine.lease(2, "cosmos");
    machine.dies();
    machine.windows(4, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
    machine.windows(4 * 60 * 5, 1.0, 0.0);
    assert_eq!(machine.running(), "flash", "{}", machine.state.reason());
    machine.windows(4 * 60 * 10, 1.0, 0.0);
    assert_eq!(machine.running(), "cosmos", "{}", machine.state.reason());
}

#[test]
fn leases_count_against_the_hourly_limit() {
    let mut machine = Machine::new();
    machine.policy.stability.max_switches_per_hour = 4;
    for _ in 0..10 {
        machine.lease(1, "flash");
        machine.release(1);
    }
    assert_eq!(machine.running(), "kernel");
    assert_eq!(machine.switches.len(), 4);
    machine.lease(1, "flash");
    let reason = machine.state.reason();
    assert!(reason.contains("4 switches per hour"), "{reason}");
}

#[test]
fn turns_of_a_comparison_count_against_a_limit_of_their_own_and_so_does_the_way_back() {
    let mut machine = Machine::new();
    machine.policy.stability.max_switches_per_hour = 4;
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    let counted = machine.switches.len();
    // A lease each, of which the next one is there before the last one goes.
    let names = ["flash", "kernel", "cosmos", "kernel"];
    for (turn, name) in (1..).zip(names.into_iter().cycle().take(100)) {
        machine.turn(turn, name);
        machine.release(turn - 1);
        assert_eq!(machine.stands(), (&Mode::Held, name), "turn {turn}");
    }
    machine.release(100);
    assert_eq!(machine.stands(), (&Mode::Auto, "bpfland"));
    assert_eq!(machine.switches.len(), counted);
    let explained = machine.explained();
    assert_eq!(explained.compared, (101, COMPARED_PER_HOUR));
    // What follows is the policy's again.
    machine.windows(4 * 60, 0.0, 1.0);
    assert_eq!(machine.running(), "cosmos");
    assert_eq!(machine.switches.len(), counted + 1);
    assert_eq!(machine.explained().compared.0, 101);
}

#[test]
fn a_turn_beyond_their_limit_waits_and_the_way_back_never_does() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    for turn in (1..).take(300) {
        machine.turn(turn, if turn % 2 == 1 { "flash" } else { "cosmos" });
        machine.release(turn - 1);
    }
    let reason = machine.state.reason();
    assert!(
        reason.contains("240 switches per hour for comparisons"),
        "{reason}"
    );
    let runs = machine.running().to_owned();
    assert_ne!(runs, "bpfland");
    machine.release(300);
    assert_eq!(machine.stands(), (&Mode::Auto, "bpfland"));
    assert_eq!(machine.explained().compared.0, 240);
    machine.turn(301, "flash");
    assert_eq!(machine.running(), "bpfland", "{}", machine.state.reason());
    machine.now += 60 * MINUTE;
    machine.windows(1, 1.0, 0.0);
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
}

#[test]
fn a_turn_whose_scheduler_dies_leaves_the_policy_its_switches() {
    let mut machine = Machine::new();
    machine.policy.stability.max_switches_per_hour = 2;
    machine.turn(1, "flash");
    machine.dies();
    assert_eq!(machine.running(), "kernel");
    machine.release(1);
    assert_eq!(machine.explained().switches.0, 0);
    machine.turn(2, "cosmos");
    machine.release(2);
    assert_eq!(machine.stands(), (&Mode::Auto, "kernel"));
    assert_eq!(machine.explained().switches.0, 0);
}

#[test]
fn when_a_turn_changed_nothing_the_next_switch_is_no_way_back() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    let counted = machine.switches.len();
    machine.turn(1, "flash");
    machine.turn(2, "bpfland");
    machine.release(1);
    machine.release(2);
    assert_eq!(machine.running(), "bpfland");
    machine.windows(4 * 60, 0.0, 1.0);
    assert_eq!(
        (machine.running(), machine.switches.len()),
        ("cosmos", counted + 1)
    );
}

#[test]
fn neither_the_safe_mode_nor_a_foreign_scheduler_gives_way_to_a_lease() {
    let mut machine = Machine::new();
    machine.kernel(KernelState::Enabled {
        ops: "homemade".into(),
    });
    machine.lease(1, "flash");
    assert_eq!(machine.state.mode(), &Mode::Yielded);
    machine.kernel(KernelState::Disabled);
    machine.happens(Event::SafeModeEntered { why: "so".into() });
    machine.windows(400, 0.0, 0.0);
    assert!(machine.state.is_safe());
    assert_eq!(machine.running(), "kernel");
    machine.happens(Event::SafeModeEnded);
    assert_eq!(machine.stands(), (&Mode::Held, "flash"));
}

#[test]
fn one_that_is_released_when_its_switch_cannot_be_cancelled_any_more_does_not_run_on() {
    let machine = Machine::new();
    let to = candidates(&["flash"]).swap_remove(0);
    let lease = Lease::new(1, to.clone(), "app".into(), "plays".into());
    let happens = |state: &State, event| decide(&machine.policy, state, event, machine.now);
    let (state, actions) = happens(&machine.state, Event::Leased(lease));
    assert!(
        matches!(&actions[..], [Action::Switch { .. }]),
        "{actions:?}"
    );
    let (state, actions) = happens(&state, Event::Released { cookie: 1 });
    assert_eq!(actions, [Action::Cancel]);
    let enabled = Event::Kernel {
        state: KernelState::Enabled {
            ops: "flash".into(),
        },
        ours: true,
    };
    let (state, _) = happens(&state, enabled);
    let (_, actions) = happens(&state, Event::Switched { to });
    assert!(
        matches!(
            &actions[..],
            [Action::Switch {
                to: Candidate::Kernel,
                ..
            }]
        ),
        "{actions:?}"
    );
}
