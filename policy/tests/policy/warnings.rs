//! Warnings about what is valid in a policy but probably not meant.

use auto_ext_policy::{Checked, Warning};

/// The warnings about `text` as the file `F`.
fn warnings(text: &str) -> String {
    let checked = Checked::parse("F", text).expect("a valid policy");
    let lines: Vec<_> = checked.warnings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The classes of rules with these conditions that never apply.
fn hidden(conditions: &[&str]) -> Vec<String> {
    let rule = |(index, when): (usize, &&str)| {
        format!("  - {{class: c{index}, when: {{{when}}}, use: [kernel]}}\n")
    };
    let rules: String = conditions.iter().enumerate().map(rule).collect();
    let checked =
        Checked::parse("F", &format!("version: 1\nrules:\n{rules}")).expect("valid rules");
    let class = |warning: &Warning| {
        let message = &warning.problem().message;
        message.split('`').nth(1).unwrap_or_default().to_owned()
    };
    checked.warnings.iter().map(class).collect()
}

#[test]
fn each_warning_has_its_place_and_says_what_to_do() {
    let text = "version: 1
schedulers:
  unused: {command: scx_cosmos}
  scx_bpfland: {command: scx_bpfland, args: [-w]}
rules:
  - {class: idle, use: [kernel]}
  - {class: game, when: {process: ['*.exe']}, use: [bpfland]}
  - {class: foo, when: {process: Foo.exe, power: ac}, use: [kernel]}
  - {class: cpu, when: {cpu: high}, use: [kernel]}
";
    let expected = "\
F:3:3: warning: no rule uses the scheduler `unused`; comment it out or use it
F:8:5: warning: the rule `foo` never gets its turn: `game` on line 7 comes first and matches whenever this one would; move this one up or remove it
F:9:5: warning: the rule `cpu` never gets its turn: `idle` on line 6 comes first and always matches; move this one up or remove it";
    assert_eq!(warnings(text), expected);
}

#[test]
fn a_rule_is_hidden_by_one_that_asks_for_less() {
    for (wide, narrow) in [
        ("cpu: high", "cpu: high"),
        ("cpu: high", "io: low, cpu: high"),
        ("power: ac", "profile: balanced, power: ac, cpu: low"),
        ("process: '*'", "process: [a, b]"),
        ("process: [a, 'b*']", "process: [bc, a], cgroup: x"),
        ("cgroup: /a.slice", "cgroup: /a.slice/b.service, cpu: low"),
    ] {
        assert_eq!(hidden(&[wide, narrow]), ["c1"], "{wide}; {narrow}");
    }
}

#[test]
fn a_rule_that_can_still_get_its_turn_is_not_warned_of() {
    for (first, second) in [
        ("cpu: high", "cpu: low"),
        ("io: low, cpu: high", "cpu: high"),
        ("power: ac", "power: battery"),
        ("process: a", "process: [a, b]"),
        ("process: a", "cgroup: a"),
        ("process: a, cgroup: x", "process: a"),
        // Other precedences.
        ("cpu: high", "cpu: high, power: ac"),
        ("power: ac", "power: ac, process: a"),
        ("process: a", "power: ac"),
    ] {
        assert_eq!(hidden(&[first, second]), [""; 0], "{first}; {second}");
    }
}

#[test]
fn an_invalid_policy_is_told_its_errors_alone() {
    let text = "version: 1
schedulers: {unused: {command: scx_cosmos}}
rules: [{class: idle, use: [kernal]}]
";
    let error = Checked::parse("F", text).unwrap_err().to_string();
    assert!(
        error.contains("kernal") && !error.contains("unused"),
        "{error}"
    );
}

#[test]
fn what_a_rule_says_of_trials_that_will_never_be_is_told() {
    let rule = |rest: &str| {
        warnings(&format!(
            "version: 1\nrules:\n  - {{class: a, use: [kernel], {rest}}}\n"
        ))
    };
    for (rest, expected) in [
        (
            "when: {process: x}, try: [flash], goal: latency",
            "F:3:56: warning: `try` and `goal` do nothing in a rule about applications, which is never overruled by a \
             trial; remove it",
        ),
        (
            "when: {power: ac}, goal: none",
            "F:3:56: warning: `goal` does nothing in a rule about power, which is never overruled by a trial; remove it",
        ),
        (
            "when: {cpu: high}, try: [flash]",
            "F:3:55: warning: `try` does nothing here: nobody waits for anything under these conditions; say with `goal` \
             what to be better at, or remove it",
        ),
        (
            "when: {net: high}, try: [flash], goal: none",
            "F:3:55: warning: `try` does nothing beside `goal: none`; remove one",
        ),
        ("when: {net: high}, try: [flash]", ""),
        ("when: {cpu: high}, try: [flash], goal: throughput", ""),
    ] {
        assert_eq!(rule(rest), expected, "{rest}");
    }
}
