//! The messages about a policy that is wrong.

use auto_ext_policy::Policy;

use crate::{errors, with};

const MANY_PROBLEMS: &str = include_str!("files/many-problems.yaml");

/// Checks cases of the form TEXT, a line `----`, ERRORS, separated by lines `====`.
fn check(cases: &str) {
    for case in cases.trim_end().split("\n====\n") {
        let (text, expected) = case
            .rsplit_once("\n----\n")
            .expect("a case has a line `----`");
        assert_eq!(errors(&format!("{text}\n")), expected, "for:\n{text}");
    }
}

#[test]
fn a_file_that_is_no_policy_at_all_is_told_why() {
    check(include_str!("files/errors/file.txt"));
}

#[test]
fn values_of_the_wrong_type_or_out_of_range_are_told_what_is_right() {
    check(include_str!("files/errors/sections.txt"));
}

#[test]
fn schedulers_that_could_not_be_run_are_told_how_to_write_them() {
    check(include_str!("files/errors/schedulers.txt"));
}

#[test]
fn rules_that_lack_something_or_ask_for_what_is_not_there_are_told_so() {
    check(include_str!("files/errors/rules.txt"));
}

#[test]
fn conditions_that_could_never_hold_are_told_what_is_meant() {
    check(include_str!("files/errors/conditions.txt"));
}

#[test]
fn all_independent_problems_are_reported_at_once_in_the_order_of_the_file() {
    let expected = include_str!("files/many-problems.txt");
    assert_eq!(errors(MANY_PROBLEMS), expected.trim_end());
}

#[test]
fn what_an_editor_does_not_show_is_named() {
    let empty = "F:1:1: error: the file is empty; a policy needs at least `version: 1` and `rules`";
    let tab = "error: a tab indents this line; YAML wants spaces";
    let control = "error: a control character stands here; remove it";
    let escaped = "error: `command` contains a control character or a line break:";
    for (text, expected) in [
        ("", empty.to_owned()),
        (" \n\t\n", empty.to_owned()),
        ("\tversion: 1\n", format!("F:1:1: {tab}")),
        (
            "version: 1\nrules:\n\t- class: a\n",
            format!("F:3:1: {tab}"),
        ),
        (
            "version: 1\nsignals:\n  cpu:\n  \t high: 1\n",
            format!("F:4:3: {tab}"),
        ),
        (
            "version: 1\nwindow: 250ms\0\n",
            format!("F:2:14: {control}"),
        ),
        (
            "version: 1\nwindow: \x1b[31m\n",
            format!("F:2:9: {control}"),
        ),
        (
            &with(r#"schedulers: {x: {command: "scx_a\0"}}"#),
            format!("F:2:27: {escaped} `scx_a\\0`"),
        ),
        (
            &with(r#"schedulers: {x: {command: "scx_a\e[2J"}}"#),
            format!("F:2:27: {escaped} `scx_a\\u{{1b}}[2J`"),
        ),
        (
            &with("schedulers: {x: {command: \"\\u202escx\"}}"),
            "F:2:27: error: `\\u{202e}scx` does not begin with `scx_`, as schedulers do; \
             write such a name or an absolute path"
                .to_owned(),
        ),
    ] {
        assert_eq!(errors(text), expected, "for: {text:?}");
    }
}

#[test]
fn columns_count_characters_not_bytes() {
    let text = "version: 1\nrules: [{class: 'ä', use: [kernel]}, {class: b, use: [kernal]}]\n";
    let error = Policy::parse("F", text).unwrap_err();
    let columns: Vec<_> = error.problems().map(|problem| problem.at.column).collect();
    assert_eq!(columns, [17, 55]);
}

#[test]
fn of_a_thousand_problems_the_first_hundred_are_told() {
    let text = with(
        &(0..1000)
            .map(|n| format!("nonsense{n}: 1\n"))
            .collect::<String>(),
    );
    let shown = errors(&text);
    assert_eq!(shown.lines().count(), 101);
    assert!(
        shown.starts_with("F:2:1: error: unknown key `nonsense0`;"),
        "{shown}"
    );
    assert!(shown.ends_with("\nF: and 900 more errors"), "{shown}");
}
