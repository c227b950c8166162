//! A policy of several files.

use auto_ext_policy::{Checked, File, Files, PolicyError};

use crate::CONTRACT;

const MAIN: &str = "version: 1
schedulers: {fast: {command: scx_bpfland}}
lists: {tools: [launcher.exe]}
rules:
  - {class: tool, when: {process: {list: tools}}, use: [fast]}
  - {class: idle, use: [kernel]}
";

fn read(files: &[(&str, &str)]) -> Result<Checked, PolicyError> {
    let mut files = files.iter().map(|(path, text)| File {
        path: (*path).into(),
        contents: Ok((*text).into()),
    });
    Checked::from_files(Files {
        main: files.next().expect("a first file"),
        parts: files.collect(),
        read_list: Box::new(|_| Err("there is no such file".to_owned())),
    })
}

fn errors(files: &[(&str, &str)]) -> String {
    read(files)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn rules_of_other_files_come_after_those_of_the_first_and_use_what_any_file_defines() {
    let checked = read(&[
        ("policies.yaml", MAIN),
        (
            "10-games.yaml",
            "version: 1\nlists: {games: [a]}\nrules:\n  - {class: game, when: {process: {list: games}, except: {list: tools}}, use: [other, fast]}\n",
        ),
        ("20-more.yaml", "version: 1\nschedulers: {other: {command: scx_lavd}}\nrules:\n"),
        ("30-nothing.yaml", "version: 1\n"),
    ])
    .unwrap();
    let classes: Vec<&str> = checked
        .policy
        .rules
        .iter()
        .map(|rule| &*rule.class)
        .collect();
    assert_eq!(classes, ["tool", "idle", "game"]);
    assert_eq!(checked.warnings, []);
    assert_eq!(checked.policy.rules[2].candidates[0].name(), "other");
    let place = &checked.places["schedulers.other.command"];
    assert_eq!(
        (place.path.to_str(), place.at.line),
        (Some("20-more.yaml"), 2)
    );
}

#[test]
fn settings_are_refused_in_a_file_beside_the_policy() {
    let said = errors(&[
        ("policies.yaml", CONTRACT),
        (
            "a.yaml",
            "version: 1\nsignals: {cpu: {high: 2}}\nrule: []\n",
        ),
        ("b.yaml", "window: 1s\n"),
        ("c.yaml", "version: 2\nnonsense: 1\n"),
    ]);
    assert_eq!(
        said,
        "a.yaml:2:1: error: `signals` is for all of the policy; move it to policies.yaml: a file beside that holds only `rules`, `lists` and `schedulers`\n\
         a.yaml:3:1: error: unknown key `rule`, did you mean `rules`?\n\
         b.yaml:1:1: error: `window` is for all of the policy; move it to policies.yaml: a file beside that holds only `rules`, `lists` and `schedulers`\n\
         b.yaml:1:1: error: `version` is missing; add for example `version: 1`\n\
         c.yaml:1:10: error: `version` is `2`, but this auto-ext reads `version: 1`"
    );
}

#[test]
fn a_name_that_another_file_defines_is_told_with_that_file() {
    let said = errors(&[
        ("policies.yaml", MAIN),
        (
            "a.yaml",
            "version: 1\nschedulers: {fast: {command: scx_lavd}}\nlists: {tools: [a]}\nrules: [{class: idle, when: {cpu: high}, use: [fats]}]\n",
        ),
    ]);
    assert_eq!(
        said,
        "a.yaml:2:14: error: the scheduler `fast` is already defined on line 2 of policies.yaml; choose another name\n\
         a.yaml:3:9: error: the list `tools` is already defined on line 3 of policies.yaml; choose another name\n\
         a.yaml:4:17: error: the class `idle` is already used on line 6 of policies.yaml; choose another name\n\
         a.yaml:4:48: error: unknown scheduler `fats`, did you mean `fast`?"
    );
}

#[test]
fn a_file_that_is_no_yaml_or_cannot_be_read_makes_all_of_the_policy_invalid() {
    let main = File {
        path: "policies.yaml".into(),
        contents: Ok("version: 1\nrules: [{class: a, use: [of-another-file]}]\n".into()),
    };
    let parts = [
        Ok("version: 1\nrules: [\n".into()),
        Err("permission denied".to_owned()),
        Ok(vec![b'a', 0xff]),
    ];
    let parts = (1..).zip(parts).map(|(number, contents)| File {
        path: format!("{number}.yaml").into(),
        contents,
    });
    let files = Files {
        main,
        parts: parts.collect(),
        read_list: Box::new(|_| Err(String::new())),
    };
    let said = Checked::from_files(files).unwrap_err().to_string();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].starts_with("1.yaml:") && lines[1] == "2.yaml:1:1: error: permission denied");
    assert!(lines[2].starts_with("3.yaml:1:2: error: byte 0xff"));
}

#[test]
fn a_rule_that_the_first_file_hides_is_warned_of() {
    let rule = "version: 1\nrules: [{class: busy, when: {cpu: high}, use: [kernel]}]\n";
    let warnings = read(&[("policies.yaml", MAIN), ("a.yaml", rule)])
        .unwrap()
        .warnings;
    assert_eq!(warnings.len(), 1);
    let warning = warnings[0].to_string();
    assert!(warning.starts_with("a.yaml:2:9: warning: the rule `busy` never gets its turn: `idle` on line 6 of policies.yaml comes first and always matches; put it into that file, above that one, or remove it"), "{warning}");
}

#[test]
fn the_rules_of_all_files_together_have_a_limit() {
    let many = |file: usize| {
        let rules: Vec<String> = (0..100)
            .map(|rule| {
                format!("{{class: c{file}-{rule}, when: {{power: ac, cpu: high}}, use: [kernel]}}")
            })
            .collect();
        format!("version: 1\nrules: [{}]\n", rules.join(", "))
    };
    let texts: Vec<String> = (0..6).map(many).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|text| ("F", text.as_str())).collect();
    assert_eq!(errors(&files[..5]), "");
    assert!(errors(&files).contains("there are more than 500 rules in all files"));
}
