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
        let scheduler = self.process.take().unwrap();
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
fn a_renamed_scheduler_that_dies_is_noticed_at_once_and_has_failed_once() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.calls_bpfland(&[ALIAS]);
    assert_eq!(machine.running(), ALIAS);
    machine.exits(Cause::Crashed);
    assert_eq!(machine.running(), "flash");
    assert_eq!(machine.state.last_error(), "fast: crashed");
    assert_eq!(machine.quarantined(), [ALIAS]);
    machine.windows(80, 1.0, 0.0);
    let counts: Vec<u32> = machine
        .state
        .failures()
        .map(|failure| failure.count)
        .collect();
    assert_eq!(counts, [1]);
    // Back by its first name it is the same still.
    machine.calls_bpfland(&["bpfland"]);
    assert_eq!(
        (machine.running(), &machine.quarantined()[..]),
        ("flash", &["bpfland".to_owned()][..])
    );
}

#[test]
fn one_that_the_kernel_ended_and_that_then_exits_under_another_name_has_failed_once() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.state.kernel = KernelState::Disabled;
    machine.state.ours = false;
    machine.decides(Event::SchedulerEjected(end(Cause::Stalled)));
    machine.policy.schedulers = [(ALIAS.to_owned(), scheduler(ALIAS))].into();
    machine.decides(Event::PolicyChanged);
    machine.decides(Event::SchedulerExited {
        scheduler: scheduler("bpfland"),
        end: end(Cause::Crashed),
    });
    let failures: Vec<_> = machine.state.failures().collect();
    assert_eq!((failures.len(), failures[0].count), (1, 1));
    assert_eq!(machine.state.running(), None);
}

#[test]
fn one_that_failed_is_quarantined_under_each_of_its_names_and_with_other_arguments_it_is_not() {
    let mut machine = Machine::new();
    machine.calls_bpfland(&[ALIAS, "bpfland"]);
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), ALIAS);
    machine.dies();
    assert_eq!(machine.running(), "flash");
    assert_eq!(machine.quarantined(), ["bpfland", ALIAS]);
    let with_arguments = |args: &[&str]| Scheduler {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        ..scheduler("bpfland")
    };
    let quick = Scheduler {
        name: "quick".into(),
        ..with_arguments(&["-m", "performance"])
    };
    machine.policy.schedulers.insert("quick".into(), quick);
    assert_eq!(machine.quarantined(), ["bpfland", ALIAS]);
    for args in [&["-m", "performance"][..], &["-m performance"], &["-w"]] {
        let scheduler = with_arguments(args);
        let end = end(Cause::NotLoaded);
        machine.decides(Event::SchedulerExited { scheduler, end });
    }
    assert_eq!(
        machine.quarantined(),
        [
            "bpfland",
            ALIAS,
            "quick",
            "scx_bpfland \"-m performance\"",
            "scx_bpfland -w"
        ]
    );
}

#[test]
fn the_name_of_what_failed_with_long_arguments_is_short() {
    let mut machine = Machine::new();
    let long = Scheduler {
        args: vec!["\n\u{e4}".repeat(500); 60],
        ..scheduler("flash")
    };
    let end = end(Cause::NotLoaded);
    machine.decides(Event::SchedulerExited {
        scheduler: long,
        end,
    });
    let [name] = &machine.quarantined()[..] else {
        panic!("{:?}", machine.quarantined())
    };
    assert!(
        name.starts_with("scx_flash ") && name.ends_with("..."),
        "{name}"
    );
    assert!(
        name.len() < 210 && !name.contains(char::is_control),
        "{name}"
    );
}

#[test]
fn a_rename_while_it_loads_does_not_cancel_it() {
    let mut machine = Machine::new();
    machine.windows(1, 1.0, 0.0);
    let to = machine.begins_to_switch_for(Signal::Cpu);
    machine.calls_bpfland(&[ALIAS]);
    let switching = machine.state.switching().unwrap();
    assert_eq!((switching.to.name(), switching.cancelled), (ALIAS, false));
    machine.has_loaded_bpfland(to);
    assert_eq!((machine.running(), machine.switches.len()), (ALIAS, 0));
}

#[test]
fn a_quarantine_goes_on_while_the_machine_sleeps_and_a_day_of_the_safe_mode_does() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.exits(Cause::Stalled);
    machine.sleeps(Duration::from_hours(2));
    assert_eq!(machine.quarantined(), [""; 0]);
    machine.happens(Event::SafeModeEntered {
        why: "of a test".into(),
    });
    assert!(machine.state.is_safe());
    machine.sleeps(Duration::from_hours(24));
    assert!(!machine.state.is_safe());
}

#[test]
fn the_time_to_load_again_does_not_pass_while_the_machine_sleeps() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.kernel(KernelState::Disabled);
    machine.windows(4, 1.0, 0.0);
    machine.sleeps(Duration::from_hours(8));
    machine.windows(4 * 50, 1.0, 0.0);
    assert_eq!(
        (machine.running(), machine.state.last_error()),
        ("bpfland", String::new())
    );
    machine.windows(4 * 10, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
}

#[test]
fn an_invalid_policy_stays_one_whatever_fails_until_it_is_mended() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.dies();
    let error = "policies.yaml:2:1: error: no".to_owned();
    machine.happens(Event::PolicyProblem {
        error: error.clone(),
    });
    assert_eq!(machine.state.last_error(), error);
    machine.dies();
    assert!(machine.state.has_policy_problem());
    let said = machine.state.last_error();
    assert!(
        said.starts_with("flash: crashed") && said.ends_with(&error),
        "{said}"
    );
    machine.happens(Event::PolicyChanged);
    assert!(!machine.state.has_policy_problem());
    assert_eq!(machine.state.last_error(), "flash: crashed");
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
    machine.happens(Event::SafeModeEnded);
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
        by: None,
    });
    assert_eq!(machine.running(), "cosmos", "a person may know better");
}

#[test]
fn sysrq_while_a_switch_is_not_yet_confirmed_counts_as_at_any_other_time() {
    let mut machine = Machine::new();
    machine.broken.insert("bpfland".into());
    machine.fault = Fault::New(Cause::Sysrq);
    machine.windows(8, 1.0, 0.0);
    assert!(machine.state.is_safe());
    machine.windows(2000, 1.0, 0.0);
    assert_eq!((machine.running(), machine.switches.len()), ("kernel", 1));
}

#[test]
fn the_safe_mode_ends_what_runs_before_its_minimum() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    machine.happens(Event::SafeModeEntered {
        why: "of two failed boots".into(),
    });
    assert_eq!(machine.running(), "kernel");
}

#[test]
fn what_failed_before_the_start_is_quarantined_until_it_is_reset() {
    let mut machine = Machine::new();
    let mut before = Machine::new();
    before.windows(8, 1.0, 0.0);
    before.exits(Cause::Stalled);
    let failures = before.state.failures().cloned().collect();
    machine.happens(Event::Remembered(failures));
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
    machine.happens(Event::FailuresReset {
        command: "scx_bpfland".into(),
    });
    machine.windows(80, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn one_whose_start_is_prevented_again_and_again_is_quarantined() {
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
    assert!(machine.state.prevented_starts.is_empty());
}
