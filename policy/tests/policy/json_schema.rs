//! The JSON Schema for editors, compared with what is read.

use auto_ext_policy::{Policy, json_schema};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use crate::{CONTRACT, SHIPPED, uncommented};

/// The errors that no schema can see, by what is said about them.
const BEYOND_A_SCHEMA: &[&str] = &[
    // Names and values that depend on others.
    "unknown scheduler",
    "unknown list",
    "must be below",
    "is already given on line",
    "is already used on line",
    // The ranges of durations, and numbers written as text.
    "it must be from 50ms to 10s",
    "it must be from 0s to",
    "99999999999999999999y",
    "18446744073709551615s",
    "remove its quotes",
    // What a list or pattern looks like inside.
    "is one argument",
    "cannot be a pattern",
    "a control character or a line break",
    "is a directory; write the path",
    "is longer than 255 bytes",
    // What is behind an address or a path.
    "or the absolute path of a socket",
    "an absolute path that ends in `.prom`",
    "it must be from 1s to 1h",
    "it must be from 5s to 1m",
    "it must be from 0.1% to 5%",
    // How a value was written: a schema knows only that 1.0 is 1.
    "`version` is `1.0`",
];

/// A JSON Schema validator with our schema in it.
struct Schema {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        let added = compiler.add_resource("policy", json_schema());
        added.expect("a name that is not taken");
        let index = compiler
            .compile("policy", &mut schemas)
            .expect("a valid schema");
        Self { schemas, index }
    }

    /// Whether `text`, if it is YAML at all, is valid; else why not.
    fn validate(&self, text: &str) -> Result<(), String> {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let result = self.schemas.validate(&value, self.index);
        result.map_err(|error| error.to_string())
    }
}

#[test]
fn the_valid_policies_are_valid_by_the_schema() {
    let schema = Schema::new();
    let everything = "version: 1
window: 1s 500ms
foreign: replace
signals: {cpu: {high: 1, low: 0, settle: 0}, parallel: {high: 1000}, mem: {}}
schedulers:
  a: {command: /opt/a, args: [-s, 20000, 0x10, 1_000, yes, true, 1.5, '']}
  0.1: {command: scx_b, args: }
lists: {games: [a, B.exe, 7], none: []}
rules:
  - class: 7
    when: {cpu: high, io: low, process: x, cgroup: ['/a/*', 5], power: ac, profile: power-saver}
    use: [a, 0.1, scx_lavd, lavd, kernel]
    try: []
  - class: 8
    when: {process: {list: games}, except: [x, {list: none}]}
    use: [kernel]
  - class: 9
    when: {process: [{descends: x}, {descends: [{list: games}, y], program: '*.exe'}], except: {descends: z, list: none}}
    use: [kernel]
  - {class: tried, when: {net: high, mem: low}, use: [kernel], try: [a, 0.1, flash], goal: energy}
trials: {mode: ask, exposure: 0.5%, arm: 6s}
stability: {min_run: 0, settle: '0', max_switches_per_hour: 2}
metrics: {textfile: /srv/text files/a.prom, every: 1s, listen: '[::1]:9797'}
";
    let empty = "version: 1\nsignals:\nschedulers: ~\nstability: null\nmetrics:\ntrials:\nrules: [{class: a, use: [kernel]}]";
    for text in [SHIPPED, CONTRACT, everything, empty] {
        assert!(Policy::parse("F", text).is_ok(), "{text}");
        assert_eq!(schema.validate(text), Ok(()), "{text}");
    }
}

#[test]
fn the_invalid_policies_are_invalid_by_the_schema_as_far_as_it_can_say() {
    let schema = Schema::new();
    let cases = [
        include_str!("files/errors/file.txt"),
        include_str!("files/errors/sections.txt"),
        include_str!("files/errors/schedulers.txt"),
        include_str!("files/errors/rules.txt"),
        include_str!("files/errors/conditions.txt"),
    ];
    let mut refused = 0;
    for case in cases.iter().flat_map(|cases| cases.split("\n====\n")) {
        let (text, errors) = case.rsplit_once("\n----\n").unwrap();
        if BEYOND_A_SCHEMA.iter().any(|error| errors.contains(error)) {
            continue;
        }
        assert!(schema.validate(text).is_err(), "{errors} for:\n{text}");
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn what_the_schema_says_of_defaults_is_what_is_done_without_a_value() {
    let minimal = "version: 1\nrules: [{class: a, use: [kernel]}]\n";
    let schema = json_schema();
    let mut said = String::from(minimal);
    for (key, section) in schema["properties"].as_object().unwrap() {
        said.push_str(&with_defaults(key, section));
    }
    assert!(
        said.contains("window: 250ms") && said.contains("high: 0.75"),
        "{said}"
    );
    assert_eq!(
        Policy::parse("F", &said),
        Policy::parse("F", minimal),
        "{said}"
    );
}

/// A line that gives `key`, or each key in it, its default by `schema`.
fn with_defaults(key: &str, schema: &Value) -> String {
    let plain = |value: &Value| value.to_string().replace('"', "");
    if let Some(default) = schema.get("default") {
        return format!("{key}: {}\n", plain(default));
    }
    let Some(properties) = schema["properties"].as_object() else {
        return String::new();
    };
    let inner = properties
        .iter()
        .map(|(key, schema)| with_defaults(key, schema));
    let inner: String = inner.collect();
    let indented = inner.lines().map(|line| format!("  {line}\n"));
    format!("{key}:\n{}", indented.collect::<String>())
}

#[test]
fn every_property_is_explained() {
    fn check(place: &str, schema: &Value) {
        let described = schema["description"]
            .as_str()
            .is_some_and(|text| !text.is_empty());
        assert!(described, "{place}");
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            check(&format!("{place}.{key}"), property);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner]["properties"].is_object() {
                check(&format!("{place}.{inner}"), &schema[inner]);
            }
        }
    }
    check("", &json_schema());
}

proptest! {
    /// An editor that marks what is valid is worse than one that does not know.
    #[test]
    fn what_is_read_is_never_marked(
        edits in prop::collection::vec((any::<Index>(), any::<Index>(), word()), 1..4),
    ) {
        let schema = Schema::new();
        let text = uncommented();
        let used = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let mut lines: Vec<String> = used.map(str::to_owned).collect();
        for (line, word, new) in edits {
            let line = line.index(lines.len());
            let separators = [' ', '[', ']', '{', '}', ',', ':'];
            let words: Vec<_> = lines[line].split(separators).filter(|word| !word.is_empty()).collect();
            if !words.is_empty() {
                let old = words[word.index(words.len())].to_owned();
                lines[line] = lines[line].replacen(&old, &new, 1);
            }
        }
        let text = lines.join("\n");
        if Policy::parse("F", &text).is_ok() {
            prop_assert_eq!(schema.validate(&text), Ok(()), "{}", text);
        }
    }
}

/// Something to write in a policy in place of something else.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[0-9]{1,3}(\\.[0-9])?",
        "[0-9]{1,3}(ms|s)",
        "'[*/a-z]{1,4}'",
        prop::sample::select(vec![
            "ac", "high", "low", "kernel", "lavd", "true", "~", "[]", "0"
        ])
        .prop_map(str::to_owned),
    ]
}
