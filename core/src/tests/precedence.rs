//! Rules about applications and power, and which of them overrules which.

use auto_ext_policy::{Conditions, Foreign, Pattern, Power};
use auto_ext_signals::{Process, ProcessEvent};

use super::*;

pub(super) fn process(pid: u32, comm: &str) -> ProcessEvent {
    ProcessEvent::Started(Process {
        pid,
        comm: comm.into(),
        executable: format!("/usr/bin/{comm}"),
        ..Process::default()
    })
}

/// The rules of [`policy`], and after them: a game gets flash, the battery the kernel's own.
pub(super) fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.policy.rules.extend([
        Rule {
            class: "battery".into(),
            when: Conditions {
                power: Some(Power::Battery),
                ..Conditions::default()
            },
            candidates: candidates(&["kernel"]),
            challengers: Vec::new(),
            goal: None,
        },
        Rule {
            class: "game".into(),
            when: Conditions {
                processes: vec![Pattern::for_processes("game*").unwrap()].into(),
                ..Conditions::default()
            },
            candidates: candidates(&["flash", "kernel"]),
            challengers: Vec::new(),
            goal: None,
        },
    ]);
    machine
}

#[test]
fn why_names_the_ancestor_by_which_a_program_counts() {
    let mut machine = Machine::new();
    let text =
        "version: 1\nrules: [{class: a, when: {process: {descends: reaper}}, use: [kernel]}]\n";
    machine.policy = Policy::parse("F", text).unwrap();
    let ProcessEvent::Started(reaper) = process(7, "reaper") else {
        unreachable!();
    };
    let ProcessEvent::Started(game) = process(9, "game") else {
        unreachable!();
    };
    let game = Process {
        ancestors: vec![reaper.clone().into()],
        ..game
    };
    machine.happens(Event::PolicyChanged);
    let started = [reaper, game].map(ProcessEvent::Started).into();
    machine.happens(Event::Processes(started));
    machine.windows(1, 0.0, 0.0);
    assert_eq!(machine.state.class(), "a");
    let why = explain(&machine.policy, &machine.state, machine.now);
    let condition = &why.rules[0].conditions[0];
    assert_eq!(condition.condition, "process descendant of reaper");
    assert_eq!(condition.now, "game, process 9, of reaper, process 7");
    // The launcher may end before its game.
    machine.happens(Event::Processes(vec![ProcessEvent::Ended { pid: 7 }]));
    machine.windows(1, 0.0, 0.0);
    assert_eq!(machine.state.class(), "a");
}

#[test]
fn why_names_the_lists_and_what_is_excepted() {
    let text = "version: 1\nlists: {games: [hl2], tools: [setup.exe]}\nrules: [{class: game, when: {process: ['*.exe', \
                {list: games}], except: {list: tools}}, use: [kernel]}]\n";
    let mut machine = Machine::new();
    machine.policy = Policy::parse("F", text).unwrap();
    machine.happens(Event::PolicyChanged);
    machine.happens(Event::Processes(vec![
        process(7, "setup.exe"),
        process(8, "hl2"),
    ]));
    assert_eq!(machine.state.processes.len(), 1);
    machine.windows(1, 0.0, 0.0);
    assert_eq!(machine.state.class(), "game");
    let why = explain(&machine.policy, &machine.state, machine.now);
    let condition = &why.rules[0].conditions[0];
    assert_eq!(
        condition.condition,
        "process *.exe or list games, but not list tools"
    );
    assert_eq!(condition.now, "hl2, process 8");
}

#[test]
fn an_application_brings_its_scheduler_at_once_whatever_the_load_is() {
    let mut machine = machine();
    machine.windows(8, 0.0, 1.0);
    assert_eq!(machine.running(), "cosmos");
    machine.happens(Event::Processes(vec![
        process(7, "cat"),
        process(8, "game1"),
    ]));
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("game", "flash")
    );
    assert_eq!(machine.state.reason(), "class game (process game1)");
    assert_eq!(machine.state.processes.len(), 1);
    machine.happens(Event::Processes(vec![ProcessEvent::Ended { pid: 8 }]));
    machine.windows(8, 0.0, 1.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("network", "flash")
    );
    assert!(machine.state.reason().contains("stays until it has run"));
    machine.windows(80, 0.0, 1.0);
    assert_eq!(machine.running(), "cosmos");
}

#[test]
fn an_application_that_comes_and_goes_all_the_time_does_not_flap() {
    let mut machine = machine();
    machine.windows(8, 0.0, 1.0);
    for pid in 0..4 * 600 {
        machine.happens(Event::Processes(vec![process(pid, "game")]));
        machine.windows(1, 0.0, 1.0);
        machine.happens(Event::Processes(vec![ProcessEvent::Ended { pid }]));
        machine.windows(1, 0.0, 1.0);
    }
    let limit = machine.policy.stability.max_switches_per_hour as usize;
    assert!(
        machine.switches.len() <= limit,
        "{}",
        machine.switches.len()
    );
}

#[test]
fn a_process_that_runs_another_program_is_another_one() {
    let mut machine = machine();
    machine.windows(8, 0.0, 0.0);
    machine.happens(Event::Processes(vec![process(7, "game")]));
    assert_eq!(machine.state.class(), "game");
    machine.happens(Event::Processes(vec![process(7, "sh")]));
    machine.windows(8, 0.0, 0.0);
    assert_eq!(machine.state.class(), "idle");
    let ProcessEvent::Started(game) = process(9, "game") else {
        unreachable!()
    };
    machine.happens(Event::Processes(vec![ProcessEvent::All(vec![game])]));
    assert_eq!(machine.state.class(), "game");
    machine.happens(Event::Processes(vec![ProcessEvent::All(Vec::new())]));
    machine.windows(8, 0.0, 0.0);
    assert_eq!(machine.state.class(), "idle");
}

#[test]
fn the_battery_overrules_the_load_and_an_application_the_battery() {
    let mut machine = machine();
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    machine.happens(Event::Power(Some(Power::Battery)));
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("battery", "kernel")
    );
    machine.happens(Event::Processes(vec![process(7, "game")]));
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("game", "flash")
    );
    machine.happens(Event::Processes(vec![ProcessEvent::Ended { pid: 7 }]));
    machine.happens(Event::Power(Some(Power::Ac)));
    machine.windows(80, 1.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("cpu", "bpfland")
    );
    machine.happens(Event::Power(None));
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.state.class(), "cpu");
}

#[test]
fn a_foreign_scheduler_is_replaced_where_the_policy_says_so() {
    let mut machine = machine();
    machine.windows(8, 0.0, 1.0);
    assert_eq!(machine.running(), "cosmos");
    machine.windows(80, 0.0, 0.0);
    machine.policy.foreign = Foreign::Replace;
    machine.kernel(KernelState::Enabled {
        ops: "homemade".into(),
    });
    assert_eq!(machine.state.mode(), &Mode::Auto);
    assert_eq!(machine.state.kernel(), &KernelState::Disabled);
    machine.windows(8, 0.0, 1.0);
    assert_eq!(machine.running(), "cosmos");
}

#[test]
fn what_nobody_asked_about_for_a_while_is_not_known_any_more() {
    let mut machine = machine();
    machine.windows(8, 0.0, 0.0);
    machine.happens(Event::Processes(vec![process(7, "game")]));
    assert_eq!(machine.state.class(), "game");
    let rules = std::mem::replace(&mut machine.policy, policy()).rules;
    machine.happens(Event::PolicyChanged);
    // Meanwhile the game ends, and nobody tells.
    machine.policy.rules = rules;
    machine.happens(Event::PolicyChanged);
    assert_eq!(machine.state.class(), "idle");
}
