//! What a person asks of what runs other than by a pin: other arguments, and to be loaded anew.

use super::*;

impl Machine {
    /// A person asks for scx_bpfland with these arguments, or for none.
    fn asks_for(&mut self, args: Option<&[&str]>) {
        let args = args.map(|args| args.iter().map(|&arg| arg.to_owned()).collect());
        let arguments = args.map(|args| ("scx_bpfland".to_owned(), args));
        self.happens(Event::ArgumentsAsked(arguments.into_iter().collect()));
    }

    fn args(&self) -> Vec<&str> {
        let running = self.state.running();
        running.map_or(Vec::new(), |running| {
            running.args.iter().map(String::as_str).collect()
        })
    }
}

#[test]
fn arguments_are_those_asked_for_wherever_a_rule_names_the_program_and_only_there() {
    let mut machine = Machine::new();
    machine.policy.stability.min_run = Duration::from_mins(10);
    machine.windows(8, 1.0, 0.0);
    machine.asks_for(Some(&["-w"]));
    assert_eq!((machine.running(), machine.args()), ("bpfland", vec!["-w"]));
    assert_eq!(machine.state.mode(), &Mode::Auto);
    machine.policy.stability.min_run = Duration::ZERO;
    machine.windows(80, 0.0, 1.0);
    assert_eq!((machine.running(), machine.args()), ("cosmos", vec![]));
    machine.windows(80, 1.0, 0.0);
    assert_eq!((machine.running(), machine.args()), ("bpfland", vec!["-w"]));
    machine.happens(Event::Pinned {
        to: candidates(&["bpfland"]).swap_remove(0),
        lasts: None,
        by: None,
    });
    assert_eq!(machine.args(), [""; 0], "a pin says itself which");
    machine.happens(Event::Unpinned);
    assert_eq!(machine.args(), ["-w"]);
    machine.policy.stability.min_run = Duration::from_mins(10);
    machine.asks_for(None);
    assert_eq!((machine.running(), machine.args()), ("bpfland", vec![]));
}

#[test]
fn where_the_arguments_asked_for_fail_those_of_the_policy_are_used() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.asks_for(Some(&["--nonsense"]));
    machine.dies();
    machine.windows(8, 1.0, 0.0);
    assert_eq!((machine.running(), machine.args()), ("bpfland", vec![]));
    let reason = machine.state.reason();
    assert!(reason.contains("bpfland is quarantined"), "{reason}");
}

#[test]
fn what_runs_is_loaded_anew_at_once_and_once() {
    let mut machine = Machine::new();
    machine.happens(Event::RestartAsked);
    assert_eq!(machine.state.switching(), None, "nothing runs");
    machine.windows(8, 1.0, 0.0);
    let actions = machine.decides(Event::RestartAsked);
    assert!(
        matches!(&actions[..], [Action::Switch { to, .. }] if to.name() == "bpfland"),
        "{actions:?}"
    );
    let to = candidates(&["bpfland"]).swap_remove(0);
    machine.happens(Event::Switched { to });
    machine.windows(80, 1.0, 0.0);
    assert_eq!((machine.running(), machine.switches.len()), ("bpfland", 1));
}

#[test]
fn a_restart_that_was_asked_for_of_one_that_died_is_none_of_the_next() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.happens(Event::FallsAsleep);
    assert_eq!(machine.decides(Event::RestartAsked), []);
    machine.dies();
    machine.happens(Event::WakesUp);
    machine.windows(400, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    let starts = machine.switches.iter().filter(|(_, to)| to == "bpfland");
    assert_eq!(starts.count(), 2);
}

#[test]
fn a_pin_says_by_which_program_it_was_asked_for() {
    let mut machine = Machine::new();
    for (lasts, reason) in [
        (None, "pinned by falcond"),
        (Some(Duration::from_mins(1)), "pinned by falcond for 1m"),
    ] {
        machine.happens(Event::Pinned {
            to: candidates(&["flash"]).swap_remove(0),
            lasts,
            by: Some("falcond".into()),
        });
        assert_eq!(machine.state.reason(), reason);
    }
}

#[test]
fn the_pin_of_a_program_overrules_neither_the_safe_mode_nor_a_quarantine() {
    let program = |name: &str| Event::Pinned {
        to: candidates(&[name]).swap_remove(0),
        lasts: None,
        by: Some("/etc/scx_loader.toml".into()),
    };
    let mut machine = Machine::new();
    machine.broken.insert("flash".into());
    machine.happens(program("flash"));
    assert_eq!(machine.quarantined(), ["flash"]);
    let tried = machine.switches.len();
    machine.happens(program("flash"));
    assert_eq!(
        (machine.running(), machine.switches.len()),
        ("kernel", tried)
    );
    machine.happens(program("cosmos"));
    assert_eq!(machine.running(), "cosmos");
    machine.happens(Event::SafeModeEntered {
        why: "two boots failed".into(),
    });
    assert!(machine.state.is_safe());
    machine.happens(program("bpfland"));
    machine.windows(400, 1.0, 0.0);
    assert_eq!(machine.running(), "kernel");
    machine.happens(Event::SafeModeEnded);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn a_person_can_pin_beside_a_program_which_then_ends_only_its_own() {
    let pinned = |name: &str, by: Option<&str>| Event::Pinned {
        to: candidates(&[name]).swap_remove(0),
        lasts: None,
        by: by.map(str::to_owned),
    };
    let ended = || Event::UnpinnedBy {
        program: Some("falcond".into()),
    };
    let mut machine = Machine::new();
    machine.happens(pinned("flash", None));
    machine.happens(pinned("cosmos", Some("falcond")));
    assert_eq!(machine.running(), "cosmos");
    machine.happens(ended());
    assert_eq!(machine.running(), "flash");
    machine.happens(ended());
    assert_eq!(machine.running(), "flash");
    machine.happens(Event::Unpinned);
    assert_eq!(machine.state.mode(), &Mode::Auto);
}

#[test]
fn a_restart_that_is_asked_for_while_the_scheduler_leaves_is_not_made_up_for() {
    let mut machine = Machine::new();
    machine.happens(Event::Pinned {
        to: candidates(&["flash"]).swap_remove(0),
        lasts: None,
        by: None,
    });
    assert_eq!(machine.running(), "flash");
    let kernel = Event::Pinned {
        to: Candidate::Kernel,
        lasts: None,
        by: None,
    };
    let (state, _) = decide(&machine.policy, &machine.state, kernel, machine.now);
    let (state, _) = decide(&machine.policy, &state, Event::RestartAsked, machine.now);
    assert!(state.restart_asked);
    let switched = Event::Switched {
        to: Candidate::Kernel,
    };
    let (state, _) = decide(&machine.policy, &state, switched, machine.now);
    assert!(!state.restart_asked);
}
