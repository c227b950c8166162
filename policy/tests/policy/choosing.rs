//! Which rule applies under which context.

use std::collections::BTreeMap;

use auto_ext_policy::{Context, Policy, Power, Precedence, Profile};
use auto_ext_signals::{Level, Levels, Process, Signal};

use crate::CONTRACT;

fn policy(rules: &str) -> Policy {
    Policy::parse("F", &format!("version: 1\nrules:\n{rules}")).expect("valid rules")
}

/// Context that can be changed one by one.
struct Now {
    levels: Levels,
    processes: BTreeMap<u32, Process>,
    power: Option<Power>,
    profile: Option<Profile>,
}

impl Now {
    fn idle() -> Self {
        Self {
            levels: Levels::all(Level::Low),
            processes: BTreeMap::new(),
            power: None,
            profile: None,
        }
    }

    fn run(&mut self, pid: u32, executable: &str, cgroup: &str) {
        let name = executable.rsplit('/').next().unwrap_or_default();
        let process = Process {
            pid,
            comm: name.chars().take(15).collect(),
            executable: executable.into(),
            argv0: name.into(),
            cgroup: cgroup.into(),
            ancestors: Vec::new(),
        };
        self.processes.insert(pid, process);
    }

    fn class<'p>(&self, policy: &'p Policy) -> &'p str {
        let now = Context {
            levels: self.levels,
            processes: &self.processes,
            power: self.power,
            profile: self.profile,
        };
        policy.rule_for(&now).map_or("none", |rule| &rule.class)
    }
}

#[test]
fn the_first_rule_whose_conditions_all_hold_wins() {
    let policy = policy(
        "  - {class: game, when: {interactive: high, cpu: low}, use: [kernel]}
  - {class: network, when: {net: high}, use: [kernel]}
  - {class: idle, use: [kernel]}
",
    );
    let mut now = Now::idle();
    assert_eq!(now.class(&policy), "idle");
    now.levels.set(Signal::Net, Level::High);
    assert_eq!(now.class(&policy), "network");
    now.levels.set(Signal::Interactive, Level::High);
    assert_eq!(now.class(&policy), "game");
    now.levels.set(Signal::Cpu, Level::High);
    assert_eq!(now.class(&policy), "network");
}

#[test]
fn the_example_of_the_contract_finds_a_game_by_its_process() {
    let policy = Policy::parse("F", CONTRACT).unwrap();
    let mut now = Now::idle();
    now.levels.set(Signal::Net, Level::High);
    assert_eq!(now.class(&policy), "network");
    now.run(7, "/usr/bin/gamescope", "/");
    assert_eq!(now.class(&policy), "game");
    now.processes.clear();
    assert_eq!(now.class(&policy), "network");
}

#[test]
fn what_is_unknown_matches_no_condition() {
    let policy = policy(
        "  - {class: a, when: {cpu: high}, use: [kernel]}
  - {class: b, when: {cpu: low}, use: [kernel]}
  - {class: c, when: {power: ac}, use: [kernel]}
  - {class: d, when: {power: battery}, use: [kernel]}
  - {class: e, when: {profile: balanced}, use: [kernel]}
",
    );
    let mut now = Now::idle();
    assert_eq!(now.class(&policy), "b");
    now.levels = Levels::all(Level::High);
    assert_eq!(now.class(&policy), "a");
    now.levels = Levels::all(Level::Unknown);
    assert_eq!(now.class(&policy), "none");
    now.profile = Some(Profile::PowerSaver);
    assert_eq!(now.class(&policy), "none");
    now.profile = Some(Profile::Balanced);
    assert_eq!(now.class(&policy), "e");
    now.power = Some(Power::Battery);
    assert_eq!(now.class(&policy), "d");
    now.power = Some(Power::Ac);
    assert_eq!(now.class(&policy), "c");
}

#[test]
fn applications_come_before_power_and_power_before_what_is_measured() {
    let policy = policy(
        "  - {class: idle, use: [kernel]}
  - {class: battery, when: {power: battery}, use: [kernel]}
  - {class: saving, when: {profile: power-saver}, use: [kernel]}
  - {class: busy-database, when: {cgroup: db.service, io: high}, use: [kernel]}
  - {class: game-on-battery, when: {process: game, power: battery}, use: [kernel]}
  - {class: game, when: {process: game}, use: [kernel]}
",
    );
    let precedences: Vec<_> = policy
        .rules
        .iter()
        .map(|rule| rule.precedence().name())
        .collect();
    let expected = "measured power power application application application";
    assert_eq!(precedences.join(" "), expected);
    assert!(Precedence::ALL.is_sorted_by(|a, b| a > b));

    let mut now = Now::idle();
    assert_eq!(now.class(&policy), "idle");
    now.profile = Some(Profile::PowerSaver);
    assert_eq!(now.class(&policy), "saving");
    now.power = Some(Power::Battery);
    assert_eq!(now.class(&policy), "battery");
    now.run(7, "/usr/bin/game", "/");
    assert_eq!(now.class(&policy), "game-on-battery");
    now.power = Some(Power::Ac);
    assert_eq!(now.class(&policy), "game");
    now.run(8, "/usr/bin/db", "/system.slice/db.service");
    assert_eq!(now.class(&policy), "game");
    now.levels.set(Signal::Io, Level::High);
    assert_eq!(now.class(&policy), "busy-database");
}

#[test]
fn conditions_on_process_and_cgroup_must_hold_for_the_same_process() {
    let policy = policy(
        "  - {class: a, when: {process: [java, python*], cgroup: shop.service}, use: [kernel]}\n",
    );
    let mut now = Now::idle();
    now.run(1, "/usr/bin/java", "/system.slice/other.service");
    now.run(2, "/usr/bin/perl", "/system.slice/shop.service");
    assert_eq!(now.class(&policy), "none");
    now.run(3, "/usr/bin/python3", "/system.slice/shop.service/worker");
    assert_eq!(now.class(&policy), "a");
    let wanted = |pid| policy.wants(&now.processes[&pid]);
    assert!(!wanted(1) && !wanted(2) && wanted(3));
    let found = policy.rules[0].when.process(&now.processes).unwrap();
    assert_eq!(found.pid, 3);
}

#[test]
fn a_policy_without_applications_wants_no_process() {
    let policy = policy("  - {class: a, when: {power: ac}, use: [kernel]}\n");
    let mut now = Now::idle();
    now.run(1, "/usr/bin/java", "/a.service");
    assert!(!policy.wants(&now.processes[&1]));
    assert_eq!(policy.rules[0].when.process(&now.processes), None);
}

#[test]
fn the_default_policy_never_picks_anything() {
    for level in [Level::High, Level::Low, Level::Unknown] {
        let mut now = Now::idle();
        now.levels = Levels::all(level);
        now.power = Some(Power::Battery);
        now.run(1, "/usr/bin/game", "/a.service");
        assert_eq!(now.class(&Policy::default()), "none");
    }
}
