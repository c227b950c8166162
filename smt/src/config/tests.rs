//! Tests of the configuration as people write it.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::core::Act;
use crate::counters::Metric;
use crate::groups::GroupBy;

const ALL: &str = "\
version: 1
act: trial
group_by: process-group
long_running: 3600s
exclude: [\"cron*\", /usr/bin/backup]
protect: [postgres*]
weights: {nginx: 2, batch.service: 0.5}
margin: 2.5%
hold: 1h
with_sched_ext: [bpfland, cosmos]
metric: rate
";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("smt.yaml"), text).map_err(|error| error.to_string())
}

#[test]
fn every_key_has_its_meaning() {
    let config = parse(ALL).unwrap();
    assert_eq!(
        (config.act, config.group_by),
        (Act::Trial, GroupBy::ProcessGroup)
    );
    assert_eq!(config.long_running, Duration::from_secs(3600));
    assert!(config.exclude[0].matches("crond") && config.exclude.len() == 2);
    assert_eq!(
        (config.margin, config.hold),
        (0.025, Duration::from_secs(3600))
    );
    assert_eq!(config.with_sched_ext, ["bpfland", "cosmos"]);
    assert_eq!(config.metric, Metric::Rate);
    for (job, weight) in [
        ("postgresql.service", 4.0),
        ("/usr/lib/postgres/postgres", 4.0),
        ("nginx.service", 2.0),
        ("batch.service", 0.5),
        ("other", 1.0),
    ] {
        assert_eq!(config.weight(job), weight, "{job}");
    }
}

#[test]
fn without_keys_nothing_is_placed() {
    let config = parse("version: 1\n").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.act, Act::Observe);
    assert_eq!(
        parse("version: 1\nwith_sched_ext: never\nexclude:\n"),
        Ok(config)
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, place, said) in [
        (
            "version: 1\nact: trial\nprotct: [x]\n",
            "smt.yaml:3:1: error: ",
            "did you mean `protect`?",
        ),
        ("version: 2\n", "smt.yaml:1:10: error: ", "this is for `1`"),
        (
            "act: trial\n",
            "smt.yaml:1:1: error: ",
            "`version` is missing",
        ),
        (
            "version: 1\nact: never\n",
            "smt.yaml:2:6: error: ",
            "observe",
        ),
        (
            "version: 1\nmargin: 2\n",
            "smt.yaml:2:9: error: ",
            "such as `2%`",
        ),
        ("version: 1\nmargin: 99%\n", "smt.yaml:2:9: error: ", "50%"),
        ("version: 1\nhold: 1s\n", "smt.yaml:2:7: error: ", "10m"),
        (
            "version: 1\nweights:\n  nginx: 99\n",
            "smt.yaml:3:10: error: ",
            "nginx",
        ),
        (
            "version: 1\nexclude: [\"[\"]\n",
            "smt.yaml:2:11: error: ",
            "no pattern",
        ),
        (
            "version: 1\nwith_sched_ext: yes\n",
            "smt.yaml:2:17: error: ",
            "never",
        ),
        (
            "version: 1\nact: trial\nact: trial\n",
            "smt.yaml:3:1: error: ",
            "act",
        ),
        ("version: 1\nact: [\n", "smt.yaml:", ""),
        ("", "smt.yaml:1:1: error: ", ""),
    ] {
        let error = parse(text).unwrap_err();
        assert!(
            error.starts_with(place) && error.contains(said),
            "{text}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_file_that_is_missing_says_nothing_and_one_that_is_too_large_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("smt.yaml");
    assert_eq!(Config::read(&path).unwrap(), Config::default());
    std::fs::write(&path, "#".repeat(70_000)).unwrap();
    assert!(
        Config::read(&path)
            .unwrap_err()
            .to_string()
            .contains("larger")
    );
}

#[test]
fn the_schema_takes_what_is_valid_and_names_every_key() {
    let schema = json_schema();
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("smt.json", schema.clone()).unwrap();
    let index = compiler.compile("smt.json", &mut schemas).unwrap();
    let valid = |text: &str| {
        let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        schemas.validate(&value, index).is_ok()
    };
    assert!(valid(ALL) && valid("version: 1\nwith_sched_ext: never\n"));
    assert!(!valid("version: 1\nprotct: [x]\n") && !valid("act: trial\n"));
    for key in ALL.lines().filter_map(|line| line.split(':').next()) {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert_eq!(
        schema["properties"].as_object().unwrap().len(),
        ALL.lines().count()
    );
}
