//! What happens to schedulers, and what comes of it.

use super::*;

fn end(cause: Cause) -> End {
    End {
        cause,
        text: cause.to_string(),
    }
}

impl Machine {
    /// The kernel ends the scheduler that runs; its process lives on.
    fn is_ejected(&mut self, cause: Cause) {
        self.kernel(KernelState::Disabled);
        self.happens(Event::SchedulerEjected(end(cause)));
    }

    fn exits(&mut self, cause: Cause) {
        let scheduler = self.state.running().cloned().unwrap();
        self.state.kernel = KernelState::Disabled;
        let end = end(cause);
        self.happens(Event::SchedulerExited { scheduler, end });
    }
}

#[test]
fn one_that_the_kernel_ended_makes_room_for_the_next_at_once() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.is_ejected(Cause::Stalled);
    assert_eq!(machine.running(), "flash");
    assert_eq!(machine.state.last_error(), "bpfland: stalled");
    machine.windows(3000, 1.0, 0.0);
    assert_eq!(machine.running(), "flash", "a stall is not forgotten soon");
}

#[test]
fn one_that_the_kernel_ended_and_that_then_exits_has_failed_once() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.state.kernel = KernelState::Disabled;
    machine.state.ours = false;
    let stalled = Event::SchedulerEjected(end(Cause::Stalled));
    let (state, actions) = decide(&machine.policy, &machine.state, stalled, machine.now);
    assert!(
        matches!(&actions[..], [Action::Switch { .. }]),
        "{actions:?}"
    );
    let exited = Event::SchedulerExited {
        scheduler: scheduler("bpfland"),
        end: end(Cause::Crashed),
    };
    let (state, _) = decide(&machine.policy, &state, exited, machine.now);
    let failures: Vec<_> = state.failures().collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(
        (failures[0].count, failures[0].end.cause),
        (1, Cause::Stalled)
    );
}

#[test]
fn one_that_did_not_come_back_after_a_hotplug_is_soon_tried_again() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.exits(Cause::Hotplug);
    assert_eq!(machine.running(), "flash");
    machine.windows(80, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn many_troubles_bring_the_safe_mode_and_a_person_ends_it() {
    let mut machine = Machine::new();
    machine.policy.stability.max_switches_per_hour = 1000;
    let mut troubles = 0;
    while !machine.state.is_safe() {
        machine.windows(40, 1.0, 0.0);
        if machine.running() != "kernel" {
            machine.exits(Cause::Crashed);
            troubles += 1;
        }
    }
    assert_eq!((troubles, machine.running()), (5, "kernel"));
    assert!(
        machine.state.reason().starts_with("safe mode"),
        "{}",
        machine.state.reason()
    );
    let before = machine.switches.len();
    machine.windows(4 * 3600, 1.0, 0.0);
    assert_eq!(machine.switches.len(), before);
    machine.happens(Event::Trusted);
    machine.windows(8, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "bpfland")
    );
}

#[test]
fn sysrq_brings_the_kernels_scheduler_and_it_stays() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.is_ejected(Cause::Sysrq);
    machine.windows(2000, 1.0, 0.0);
    assert!(machine.state.is_safe());
    assert_eq!(machine.running(), "kernel");
    machine.happens(Event::Pinned {
        to: candidates(&["cosmos"]).swap_remove(0),
        lasts: None,
    });
    assert_eq!(machine.running(), "cosmos", "a person may know better");
}

#[test]
fn the_safe_mode_ends_what_runs_before_its_minimum() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    machine.happens(Event::Distrusted {
        why: "of two failed boots".into(),
    });
    assert_eq!(machine.running(), "kernel");
}

#[test]
fn what_failed_before_the_start_is_left_alone_until_it_is_forgiven() {
    let mut machine = Machine::new();
    let mut before = Machine::new();
    before.windows(8, 1.0, 0.0);
    before.exits(Cause::Stalled);
    let failures = before.state.failures().cloned().collect();
    machine.happens(Event::Remembered(failures));
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
    machine.happens(Event::Forgiven {
        command: "scx_bpfland".into(),
    });
    machine.windows(80, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn one_that_again_and_again_comes_to_nothing_through_nobodys_fault_is_left_alone() {
    let mut machine = Machine::new();
    machine.policy.stability.max_switches_per_hour = 1000;
    machine.broken = ["bpfland".to_owned()].into();
    machine.fault = Fault::Nobody;
    machine.windows(36, 1.0, 0.0);
    assert_eq!((machine.running(), machine.switches.len()), ("kernel", 2));
    machine.windows(40, 1.0, 0.0);
    let failures: Vec<_> = machine.state.failures().cloned().collect();
    assert_eq!(
        (failures.len(), failures[0].end.cause),
        (1, Cause::NotLoaded)
    );
    // Three of it, and then the next one.
    assert_eq!((machine.running(), machine.switches.len()), ("flash", 4));
    machine.windows(4 * 3600, 1.0, 0.0);
    assert!(machine.switches.len() < 30, "{}", machine.switches.len());
    // Once it has run, all is well again.
    machine.broken.clear();
    machine.windows(4 * 3600 * 24, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    assert!(machine.state.fruitless.is_empty());
}
