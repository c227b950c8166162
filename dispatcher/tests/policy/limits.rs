//! How large everything may be.

use crate::{errors, with};

/// A policy in which something has the given size.
type TextOfSize<'a> = &'a dyn Fn(usize) -> String;

#[test]
fn everything_has_a_limit_and_the_limit_itself_is_allowed() {
    let repeat = |count: usize, item: &dyn Fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(", ")
    };
    let rule = |use_: &str| format!("version: 1\nrules: [{{class: a, use: [{use_}]}}]\n");
    let args = |args: &str| {
        with(&format!(
            "schedulers: {{x: {{command: scx_a, args: [{args}]}}}}"
        ))
    };
    let command = |command: &str| with(&format!("schedulers: {{x: {{command: {command}}}}}"));
    let rules = |count| {
        let rules = repeat(count, &|index| {
            format!("{{class: c{index}, use: [kernel]}}")
        });
        format!("version: 1\nrules:\n  [{rules}]\n")
    };
    let schedulers = |count| {
        with(&format!(
            "schedulers: {{{}}}",
            repeat(count, &|i| format!("s{i}: {{command: scx_a}}"))
        ))
    };
    let when = |when: &str| {
        format!("version: 1\nrules: [{{class: a, when: {{{when}}}, use: [kernel]}}]\n")
    };
    let limits: [(&str, TextOfSize<'_>, usize); 12] = [
        ("`rules` has more than 100 items", &rules, 100),
        ("there are more than 100 schedulers", &schedulers, 100),
        (
            "`use` has more than 16 items",
            &|n| rule(&repeat(n, &|_| "kernel".into())),
            16,
        ),
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
            "`process` has more than 100 items",
            &|n| when(&format!("process: [{}]", repeat(n, &|_| "a".into()))),
            100,
        ),
        (
            "a pattern is longer than 256 bytes",
            &|n| when(&format!("cgroup: {}", "a".repeat(n))),
            256,
        ),
        (
            "more than 500 patterns",
            &|n| {
                let rules = repeat(n / 50, &|index| {
                    let patterns =
                        repeat(if index == 9 { 50 + n % 50 } else { 50 }, &|_| "a".into());
                    format!("{{class: c{index}, when: {{process: [{patterns}]}}, use: [kernel]}}")
                });
                format!("version: 1\nrules: [{rules}]\n")
            },
            500,
        ),
        (
            "cannot be the name of a scheduler",
            &|n| {
                with(&format!(
                    "schedulers: {{{}: {{command: scx_a}}}}",
                    "a".repeat(n)
                ))
            },
            64,
        ),
        (
            "cannot be the name of a class",
            &|n| {
                format!(
                    "version: 1\nrules: [{{class: {}, use: [kernel]}}]\n",
                    "a".repeat(n)
                )
            },
            64,
        ),
    ];
    for (message, text, limit) in limits {
        assert_eq!(errors(&text(limit)), "", "{message}");
        let error = errors(&text(limit + 1));
        assert!(error.contains(message), "{message}: {error}");
        assert!(
            error.len() < 300 && error.lines().count() == 1,
            "{message}: {error}"
        );
    }
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
