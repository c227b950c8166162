//! What the kernel says that is not of our doing: foreign schedulers, no sched_ext, one that is detached.

use super::*;

#[test]
fn a_foreign_scheduler_is_left_alone_until_it_leaves() {
    let mut machine = Machine::new();
    machine.kernel(KernelState::Enabled {
        ops: "homemade".into(),
    });
    machine.windows(20, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Yielded, "kernel")
    );
    assert_eq!(machine.switches, []);
    machine.kernel(KernelState::Disabled);
    machine.windows(40, 1.0, 0.0);
    assert_eq!(machine.switches, [], "it may be about to come back");
    machine.windows(40, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "bpfland")
    );
}

#[test]
fn a_foreign_scheduler_in_the_place_of_ours_is_respected() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.kernel(KernelState::Enabled {
        ops: "homemade".into(),
    });
    assert_eq!(machine.state.mode(), &Mode::Yielded);
}

#[test]
fn without_sched_ext_without_schedulers_or_when_asked_it_only_observes() {
    let observing = |change: fn(&mut Machine), cause: ObserveCause| {
        let mut machine = Machine::new();
        change(&mut machine);
        machine.windows(20, 1.0, 0.0);
        assert_eq!(machine.state.mode(), &Mode::Observe(cause));
        assert_eq!(machine.state.class(), "cpu");
        assert_eq!(machine.switches, []);
    };
    observing(
        |machine| machine.kernel(KernelState::Unsupported),
        ObserveCause::NoSchedExt,
    );
    observing(
        |machine| machine.kernel(KernelState::Unknown("odd".into())),
        ObserveCause::KernelUnknown("odd".into()),
    );
    observing(
        |machine| machine.happens(Event::Installed(BTreeSet::new())),
        ObserveCause::NoScheduler,
    );
    observing(
        |machine| machine.state.observe_asked = true,
        ObserveCause::Asked,
    );
}

#[test]
fn nothing_is_started_while_the_kernel_is_on_its_way_from_one_scheduler_to_another() {
    let mut machine = Machine::new();
    machine.kernel(KernelState::Disabling);
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.switches, []);
    machine.kernel(KernelState::Disabled);
    assert_eq!(machine.running(), "bpfland");
    assert_eq!(machine.state.last_error(), "");
}

#[test]
fn a_scheduler_that_stays_detached_has_failed_and_one_that_loads_itself_again_has_not() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.kernel(KernelState::Disabled);
    machine.windows(50, 1.0, 0.0);
    machine.windows(50, 0.0, 1.0);
    assert_eq!(machine.running(), "bpfland");
    machine.windows(1, 1.0, 0.0);
    machine.happens(Event::Kernel {
        state: KernelState::Enabled {
            ops: "bpfland".into(),
        },
        ours: true,
    });
    machine.windows(300, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    machine.kernel(KernelState::Disabled);
    machine.windows(250, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
    assert!(
        machine
            .state
            .last_error()
            .contains("bpfland: its process lives")
    );
}

fn used() -> Event {
    Event::CoreScheduling(CoreScheduling::Used("process 7 (qemu)".into()))
}

#[test]
fn beside_core_scheduling_nothing_is_loaded_not_even_what_a_person_pins() {
    for found in [
        CoreScheduling::Used("process 7 (qemu)".into()),
        CoreScheduling::Unknown("process 7 may not be asked".into()),
    ] {
        let mut machine = Machine::new();
        machine.happens(Event::CoreScheduling(found.clone()));
        machine.windows(20, 1.0, 0.0);
        let cause = ObserveCause::CoreScheduling(found);
        assert!(!cause.leaves_room_for_a_pin());
        assert_eq!(machine.state.mode(), &Mode::Observe(cause));
        machine.happens(Event::Pinned {
            to: candidates(&["cosmos"]).swap_remove(0),
            lasts: None,
            by: None,
        });
        machine.windows(20, 1.0, 0.0);
        assert_eq!(machine.switches, []);
        let reason = machine.state.reason();
        assert!(
            reason.starts_with("the kernel's own scheduler runs") && reason.contains("process 7"),
            "{reason}"
        );
        machine.happens(Event::CoreScheduling(CoreScheduling::Unused));
        assert_eq!(machine.running(), "cosmos");
    }
}

#[test]
fn what_runs_leaves_at_once_when_core_scheduling_begins_and_comes_back_after_it() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    machine.happens(used());
    assert_eq!(machine.running(), "kernel");
    machine.happens(Event::CoreScheduling(CoreScheduling::Unused));
    assert_eq!(machine.running(), "bpfland");
    machine.happens(Event::Pinned {
        to: candidates(&["cosmos"]).swap_remove(0),
        lasts: None,
        by: None,
    });
    machine.happens(used());
    assert_eq!(machine.running(), "kernel", "whoever asked for it");
}

#[test]
fn a_switch_on_its_way_is_cancelled_when_core_scheduling_begins() {
    let mut machine = Machine::new();
    machine.begins_to_switch_for(Signal::Cpu);
    assert_eq!(machine.decides(used()), [Action::Cancel]);
}
