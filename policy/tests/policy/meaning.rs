//! What the sections of a policy mean.

use std::time::Duration;

use auto_ext_policy::{
    Candidate, Checked, Conditions, Foreign, Goal, Pattern, Policy, Power, Profile, Scheduler,
    Selection, TrialMode,
};
use auto_ext_signals::{Level, Signal, Thresholds};

use crate::{CONTRACT, with};

#[test]
fn the_example_of_the_contract_means_what_it_says() {
    let policy = Policy::parse("F", CONTRACT).unwrap();
    let cpu = policy.signals.get(Signal::Cpu);
    assert_eq!(
        (cpu.high, cpu.low, cpu.mean_over),
        (0.75, 0.55, Duration::from_secs(1))
    );
    assert_eq!(
        policy.signals.get(Signal::Io),
        Thresholds::default().get(Signal::Io)
    );
    assert_eq!(policy.schedulers["bpfland"].args, [""; 0]);
    assert_eq!(
        policy.schedulers["bpfland-low-latency"].args,
        ["-m", "performance", "-w"]
    );
    let game = &policy.rules[0];
    let processes = ["gamescope", "*.exe"].map(|text| Pattern::for_processes(text).unwrap());
    assert_eq!(game.when.processes.programs.patterns, processes);
    let names: Vec<_> = game.candidates.iter().map(Candidate::name).collect();
    assert_eq!(names, ["lavd", "bpfland-low-latency", "kernel"]);
    let lavd = Scheduler {
        name: "lavd".into(),
        command: "scx_lavd".into(),
        args: vec![],
    };
    assert_eq!(game.candidates[0], Candidate::Scheduler(lavd));
    assert_eq!(policy.stability.settle, Duration::from_secs(1));
}

#[test]
fn arguments_are_text_exactly_as_written() {
    let args = "[-s, 20000, 0x10, 1_000, 1e3, 007, 1.50, yes, 'a b', '-s 1', '', '-']";
    let line = format!("schedulers: {{x: {{command: scx_bpfland, args: {args}}}}}");
    let policy = Policy::parse("F", &with(&line)).unwrap();
    let expected = [
        "-s", "20000", "0x10", "1_000", "1e3", "007", "1.50", "yes", "a b", "-s 1", "", "-",
    ];
    assert_eq!(policy.schedulers["x"].args, expected);
}

#[test]
fn a_name_in_use_is_the_policys_own_before_it_is_a_known_one() {
    let text = "version: 1
schedulers: {bpfland: {command: scx_bpfland, args: [-w]}, mine: {command: /opt/mine}}
rules: [{class: idle, use: [bpfland, scx_bpfland, mine, scx_lavd, lavd]}]
";
    let policy = Policy::parse("F", text).unwrap();
    let shown: Vec<_> = policy.rules[0]
        .candidates
        .iter()
        .map(|candidate| match candidate {
            Candidate::Kernel => panic!("not asked for"),
            Candidate::Scheduler(s) => format!("{} {} {:?}", s.name, s.command, s.args),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "bpfland scx_bpfland [\"-w\"]",
            "bpfland scx_bpfland [\"-w\"]",
            "mine /opt/mine []",
            "lavd scx_lavd []",
            "lavd scx_lavd []"
        ]
    );
}

#[test]
fn sections_whose_lines_are_all_commented_out_have_their_defaults() {
    let policy = Policy::parse("F", &with("signals:\nschedulers: ~\nstability:")).unwrap();
    assert_eq!(
        Policy {
            rules: vec![],
            ..policy
        },
        Policy::default()
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_no_problem() {
    let text = format!("\u{feff}{}", CONTRACT.replace('\n', "\r\n"));
    assert_eq!(Policy::parse("F", &text), Policy::parse("F", CONTRACT));
}

#[test]
fn conditions_are_what_they_say() {
    let rule = "{class: a, when: {cpu: low, process: a, cgroup: [b, /c], power: ac, profile: \
                power-saver, io: high}, use: [kernel]}";
    let policy = Policy::parse("F", &format!("version: 1\nrules: [{rule}]\n")).unwrap();
    let expected = Conditions {
        levels: vec![(Signal::Cpu, Level::Low), (Signal::Io, Level::High)],
        processes: vec![Pattern::for_processes("a").unwrap()].into(),
        except: Selection::default(),
        cgroups: vec![
            Pattern::for_cgroups("b").unwrap(),
            Pattern::for_cgroups("/c").unwrap(),
        ],
        power: Some(Power::Ac),
        profile: Some(Profile::PowerSaver),
    };
    assert_eq!(policy.rules[0].when, expected);
}

#[test]
fn every_name_stands_for_its_value() {
    for power in Power::ALL {
        assert_eq!(power.name().parse(), Ok(power));
    }
    for profile in Profile::ALL {
        assert_eq!(profile.name().parse(), Ok(profile));
    }
    assert!("Battery".parse::<Power>().is_err() && "eco".parse::<Profile>().is_err());
    for foreign in Foreign::ALL {
        let text = with(&format!("foreign: {}", foreign.name()));
        assert_eq!(Policy::parse("F", &text).unwrap().foreign, foreign);
    }
}

#[test]
fn comments_and_layout_make_no_other_policy() {
    let text =
        "# more\n# lines\nversion: 1\nrules: [{class: a, when: {process: x}, use: [kernel]}]";
    let other = "version: 1\nrules:\n  - class: a\n    when:\n      process:\n        - 'x'\n    use: [kernel]\n";
    assert_eq!(
        Policy::parse("F", text).unwrap(),
        Policy::parse("G", other).unwrap()
    );
}

#[test]
fn trials_are_off_unless_the_policy_says_otherwise() {
    let policy = Policy::parse("F", &with("trials: {exposure: 0.5 %, arm: 6s}")).unwrap();
    assert_eq!(policy.trials.mode, TrialMode::Off);
    assert!((policy.trials.exposure - 0.005).abs() < 1e-12);
    assert_eq!(policy.trials.arm, Duration::from_secs(6));
    for mode in TrialMode::ALL {
        let text = with(&format!("trials: {{mode: {}}}", mode.name()));
        assert_eq!(Policy::parse("F", &text).unwrap().trials.mode, mode);
    }
}

#[test]
fn the_goal_is_what_the_conditions_suggest_unless_the_rule_names_one() {
    let goals = |rest: &str| {
        let text = format!("version: 1\nrules: [{{class: a, use: [kernel], {rest}}}]");
        let policy = Policy::parse("F", &text).unwrap();
        [true, false].map(|with_sleepers| policy.rules[0].goal(with_sleepers))
    };
    for (rest, expected) in [
        ("when: {interactive: high, net: high}", [Goal::Latency; 2]),
        ("when: {net: high}", [Goal::Requests; 2]),
        ("when: {io: high, mem: high}", [Goal::Requests; 2]),
        ("when: {parallel: high}", [Goal::Latency, Goal::Throughput]),
        ("when: {mem: high}", [Goal::Throughput; 2]),
        ("when: {mem: low, cpu: high}", [Goal::None; 2]),
        ("when: {cpu: high}, goal: energy", [Goal::Energy; 2]),
        ("when: {net: high}, goal: none", [Goal::None; 2]),
        (
            "when: {process: x, net: high}, goal: latency",
            [Goal::None; 2],
        ),
        ("when: {power: ac}, goal: latency", [Goal::None; 2]),
    ] {
        assert_eq!(goals(rest), expected, "{rest}");
    }
}

#[test]
fn what_may_be_tried_is_used_and_may_be_defined() {
    let text = "version: 1
schedulers: {mine: {command: /opt/mine}}
rules: [{class: a, when: {net: high}, use: [kernel], try: [mine, flash]}]
";
    let checked = Checked::parse("F", text).unwrap();
    assert_eq!(checked.warnings, []);
    let used: Vec<_> = checked
        .policy
        .used_schedulers()
        .map(|used| used.command.as_str())
        .collect();
    assert_eq!(used, ["/opt/mine", "scx_flash"]);
}
