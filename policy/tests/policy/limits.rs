//! How large everything may be.

use crate::{errors, with};

/// A policy in which something has the given size.
type TextOfSize<'a> = &'a dyn Fn(usize) -> String;

fn repeat(count: usize, item: &dyn Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(", ")
}

/// A policy with these rules.
fn rules(rules: &str) -> String {
    format!("version: 1\nrules: [{rules}]\n")
}

/// A policy of each size up to the limit is valid, and one that is larger by one has one error.
fn require_limits(limits: &[(&str, TextOfSize<'_>, usize)]) {
    for (message, text, limit) in limits {
        assert_eq!(errors(&text(*limit)), "", "{message}");
        let error = errors(&text(limit + 1));
        assert!(error.contains(message), "{message}: {error}");
        assert!(
            error.len() < 300 && error.lines().count() == 1,
            "{message}: {error}"
        );
    }
}

#[test]
fn everything_about_schedulers_has_a_limit_and_the_limit_itself_is_allowed() {
    let scheduler = |name: &str, keys: &str| with(&format!("schedulers: {{{name}: {{{keys}}}}}"));
    let args = |args: &str| scheduler("x", &format!("command: scx_a, args: [{args}]"));
    let command = |command: &str| scheduler("x", &format!("command: {command}"));
    let schedulers = |count| {
        let schedulers = repeat(count, &|i| format!("s{i}: {{command: scx_a}}"));
        with(&format!("schedulers: {{{schedulers}}}"))
    };
    require_limits(&[
        ("there are more than 100 schedulers", &schedulers, 100),
        (
            "`args` has more than 64 items",
            &|n| args(&repeat(n, &|_| "-v".into())),
            64,
        ),
        (
            "an argument is longer than 1024 bytes",
            &|n| args(&"a".repeat(n)),
            1024,
        ),
        (
            "longer than 255 bytes",
            &|n| command(&format!("scx_{}", "a".repeat(n - 4))),
            255,
        ),
        (
            "longer than 4095 bytes",
            &|n| command(&format!("/{}", "a".repeat(n - 1))),
            4095,
        ),
        (
            "cannot be the name of a scheduler",
            &|n| scheduler(&"a".repeat(n), "command: scx_a"),
            64,
        ),
    ]);
}

#[test]
fn everything_about_rules_has_a_limit_and_the_limit_itself_is_allowed() {
    let when = |when: &str| rules(&format!("{{class: a, when: {{{when}}}, use: [kernel]}}"));
    let patterns = |n: usize| {
        rules(&repeat(n / 50, &|index| {
            let count = if index == 9 { 50 + n % 50 } else { 50 };
            let patterns = repeat(count, &|_| "a".into());
            format!("{{class: c{index}, when: {{process: [{patterns}]}}, use: [kernel]}}")
        }))
    };
    require_limits(&[
        (
            "`rules` has more than 100 items",
            &|n| {
                rules(&repeat(n, &|index| {
                    format!("{{class: c{index}, use: [kernel]}}")
                }))
            },
            100,
        ),
        (
            "`use` has more than 16 items",
            &|n| {
                let names = repeat(n, &|_| "kernel".into());
                rules(&format!("{{class: a, use: [{names}]}}"))
            },
            16,
        ),
        (
            "`process` has more than 100 items",
            &|n| when(&format!("process: [{}]", repeat(n, &|_| "a".into()))),
            100,
        ),
        (
            "a pattern is longer than 256 bytes",
            &|n| when(&format!("cgroup: {}", "a".repeat(n))),
            256,
        ),
        ("more than 500 patterns", &patterns, 500),
        (
            "cannot be the name of a class",
            &|n| rules(&format!("{{class: {}, use: [kernel]}}", "a".repeat(n))),
            64,
        ),
    ]);
}

#[test]
fn the_bounds_of_every_range_are_allowed() {
    for line in [
        "window: 50ms",
        "window: 10s",
        "signals: {cpu: {high: 1, low: 0, settle: 0s}}",
        "signals: {parallel: {high: 1000, low: 999.5, settle: 60s}}",
        "stability: {min_run: 0s, settle: 0s, max_switches_per_hour: 2}",
        "stability: {min_run: 1h, settle: 1m, max_switches_per_hour: 3600}",
    ] {
        assert_eq!(errors(&with(line)), "", "{line}");
    }
}

#[test]
fn an_alias_bomb_is_refused_at_its_first_anchor() {
    let mut bomb = String::from("version: 1\na: &a [x, x, x, x, x, x, x, x, x]\n");
    for (name, previous) in ('b'..='z').zip('a'..) {
        let aliases = vec![format!("*{previous}"); 9].join(", ");
        bomb.push_str(&format!("{name}: &{name} [{aliases}]\n"));
    }
    assert!(errors(&bomb).starts_with("F:2:4: error: `&a` is a YAML anchor,"));
}

#[test]
fn a_document_that_nests_too_deep_is_refused_however_it_is_written() {
    let message = "lists and mappings nest too deep here; a policy needs six levels";
    let stairs: String = (0..500)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        stairs,
    ] {
        let error = errors(&text);
        assert!(error.ends_with(message), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    assert!(errors(&"? ".repeat(100_000)).ends_with(message));
}

#[test]
fn a_text_with_too_many_values_is_refused() {
    let error = errors(&format!("version: 1\nrules: [{}]\n", "a,".repeat(100_000)));
    assert!(
        error.ends_with("there are more than 32768 keys and values up to here"),
        "{error}"
    );
}
