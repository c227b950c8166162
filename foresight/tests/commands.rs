//! `scx_foresight train` and `export` as they are typed, over recordings of tasks that are made up, of which it is known how far
//! they can be predicted: what is told, what is written, what is refused, and with which exit code.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use foresight_model::disk::{read_model, write_model};
use foresight_model::file::{Holdout, Model, Moves};
use foresight_model::mlp::{Network, Standard};
use foresight_model::origin::{FEATURES, Machine, Origin};
use foresight_model::samples::{Header, Sample, VERSION};
use foresight_model::simulation::{Kind, record, record_moves};
use serde_json::Value;
use tempfile::TempDir;

const PREDICTABLE: [(&str, Kind); 2] = [
    ("turns", Kind::Alternating),
    ("follows", Kind::Coupled(1.0)),
];
const BURSTS: u32 = 3000;

/// How a command ended, and what it said.
struct Done {
    code: i32,
    out: String,
    error: String,
}

fn foresight(words: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scx_foresight"));
    let done = command.args(words).output().unwrap();
    Done {
        code: done.status.code().unwrap(),
        out: String::from_utf8(done.stdout).unwrap(),
        error: String::from_utf8(done.stderr).unwrap(),
    }
}

fn origin() -> Origin {
    Origin {
        made_by: "a test".to_owned(),
        made_us: 1,
        kernel: "6.18.0".to_owned(),
        machine: Machine {
            cpu: "made up".to_owned(),
            cpus: 4,
            llcs: 1,
            nodes: 1,
            smt: false,
        },
    }
}

/// A directory with recordings and a place for a model.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn word(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// What would be collected of these tasks, in a file of this name.
    fn record(&self, name: &str, tasks: &[(&str, Kind)], seed: u64) {
        let bursts = record(tasks, BURSTS, seed);
        self.write(name, bursts.into_iter().map(Sample::Burst));
    }

    fn write(&self, name: &str, samples: impl Iterator<Item = Sample>) {
        let header = Header {
            samples: VERSION,
            features: FEATURES,
            origin: origin(),
            explore: 0.0,
        };
        let mut text = header.to_line();
        text.extend(samples.map(|sample| sample.to_line()));
        fs::write(self.path(name), text).unwrap();
    }

    fn train(&self, files: &[&str], options: &[&str]) -> Done {
        let files: Vec<String> = files.iter().map(|name| self.word(name)).collect();
        let model = self.word("model.json");
        let mut words = vec!["train"];
        words.extend(files.iter().map(String::as_str));
        words.extend(["--out", &model]);
        words.extend(options);
        foresight(&words)
    }

    fn model(&self) -> Option<Model> {
        read_model(&self.path("model.json")).unwrap()
    }

    fn export(&self, format: &[&str]) -> String {
        let model = self.word("model.json");
        let done = foresight(&[&["export", &model], format].concat());
        assert_eq!(done.code, 0, "{}", done.error);
        done.out
    }
}

/// The R2 that the report has in the line that begins so.
fn r2(report: &str, line: &str) -> f64 {
    let mut lines = report.lines().map(str::trim);
    let line = lines.find(|found| found.starts_with(line)).unwrap();
    let (_, number) = line.split_once("R2 ").unwrap();
    number.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn what_can_be_predicted_is_told_and_written_and_exported() {
    let place = Place::new();
    place.record("first", &PREDICTABLE, 1);
    place.record("second", &PREDICTABLE, 2);
    let done = place.train(&["first", "second"], &[]);
    assert_eq!((done.code, done.error.as_str()), (0, ""), "{}", done.out);
    assert!(r2(&done.out, "average") <= 0.2, "{}", done.out);
    assert!(r2(&done.out, "lines") >= 0.8, "{}", done.out);
    let model = place.model().unwrap();
    assert!(!model.shadow_only && model.moves.is_none());
    assert_eq!(model.origin.kernel, "6.18.0");
    assert!(model.origin.made_by.starts_with("scx_foresight "));
    let names: Vec<&String> = model.programs.keys().collect();
    assert_eq!(names, ["follows", "turns"]);
    // A burst follows the sleep before it, one to one.
    let slope = model.programs["follows"].line[4];
    assert!((0.8..=1.2).contains(&slope), "{slope}");

    let json: Value = serde_json::from_str(&place.export(&[])).unwrap();
    let weights = json["lines"]["follows"].as_array().unwrap().clone();
    let weights: Vec<String> = weights.iter().map(ToString::to_string).collect();
    assert_eq!(weights.len(), 8);
    let c = place.export(&["--format", "c"]);
    let row = format!("{{ \"follows\", {{ {} }} }},", weights.join(", "));
    assert!(c.contains(&row), "{row} in {c}");
    let csv = place.export(&["--format", "csv"]);
    for (column, weight) in weights.iter().enumerate() {
        let row = format!("line,\"follows\",0,{column},{weight}");
        assert!(csv.lines().any(|line| line == row), "{row} in {csv}");
    }
}

#[test]
fn what_is_no_better_is_refused_and_replaces_nothing_unless_by_force() {
    let place = Place::new();
    place.record("good", &PREDICTABLE, 1);
    place.record("few", &[("dice", Kind::Random)], 1);
    let text = fs::read_to_string(place.path("few")).unwrap();
    let few: Vec<&str> = text.lines().take(100).collect();
    fs::write(place.path("few"), few.join("\n") + "\n").unwrap();
    let done = place.train(&["few"], &[]);
    assert_eq!((done.code, place.model()), (1, None), "{}", done.out);
    assert!(
        done.error
            .starts_with("Error: no model is written, as it would be no better: only "),
        "{}",
        done.error
    );
    assert!(done.out.contains("\nlost: only "), "{}", done.out);

    assert_eq!(place.train(&["good"], &[]).code, 0);
    let before = place.model();
    assert_eq!(place.train(&["few"], &[]).code, 1);
    assert_eq!(place.model(), before);
    let forced = place.train(&["few"], &["--force"]);
    assert_eq!(forced.code, 0, "{}", forced.error);
    assert!(place.model().unwrap().shadow_only);
}

#[test]
fn what_was_proven_of_moves_stays_where_there_is_nothing_new_of_them() {
    let moves = Moves {
        network: Network {
            b2: -1.0,
            ..Network::default()
        },
        standard: Standard::of(&[]),
        threshold: 0.0,
        holdout: Holdout {
            n: 1000,
            agreement: 1.0,
            ..Holdout::default()
        },
    };
    let place = Place::new();
    place.record("bursts", &PREDICTABLE, 1);
    let mut before = Model {
        origin: origin(),
        moves: Some(moves),
        ..Model::default()
    };
    for (kernel, shadow_only, stays) in [
        ("6.18.0", false, true),
        ("7.2.0", false, false),
        ("6.18.0", true, false),
    ] {
        before.origin.kernel = kernel.to_owned();
        before.shadow_only = shadow_only;
        write_model(&place.path("model.json"), &before).unwrap();
        let done = place.train(&["bursts"], &[]);
        assert_eq!(done.code, 0, "{}", done.error);
        let model = place.model().unwrap();
        assert_eq!(model.moves.is_some(), stays, "{kernel} {shadow_only}");
        assert_eq!(model.programs.len(), 2);
    }
}

#[test]
fn moves_are_judged_by_what_they_are_worth_and_by_what_the_rule_says() {
    let place = Place::new();
    for (name, matters) in [("worth", true), ("idle", false)] {
        let moves = record_moves(4000, matters, 1).into_iter();
        place.write(name, moves.map(Sample::Move));
    }
    let idle = place.train(&["idle"], &[]);
    assert_eq!((idle.code, place.model()), (1, None), "{}", idle.out);
    let done = place.train(&["worth"], &[]);
    assert_eq!(done.code, 0, "{}", done.error);
    for said in [
        "moves: 4000, of which the last 1334 were held out",
        "ms a move more than the incumbent's",
        "integers as floating point in ",
    ] {
        assert!(done.out.contains(said), "no {said} in {}", done.out);
    }
    let holdout = place.model().unwrap().moves.unwrap().holdout;
    assert!(holdout.low > 0.0 && holdout.agreement >= 0.99);
    assert!(place.export(&[]).contains("\"agreement\":"));
    // By now it has to beat itself.
    let again = place.train(&["worth"], &[]);
    assert_eq!(again.code, 1, "{}", again.out);
    let imitated = place.train(&["worth"], &["--imitate", "--force"]);
    assert_eq!(imitated.code, 0, "{}", imitated.error);
    assert!(place.model().unwrap().shadow_only);
}

#[test]
fn the_same_recordings_and_seed_lead_to_the_same_model() {
    let place = Place::new();
    place.record("bursts", &PREDICTABLE, 1);
    let trained = || {
        let done = place.train(&["bursts"], &["--seed", "7"]);
        (done.code, done.out, place.export(&["--format", "csv"]))
    };
    assert_eq!(trained(), trained());
}

#[test]
fn a_recording_that_was_cut_off_is_read_up_to_there() {
    let place = Place::new();
    place.record("bursts", &PREDICTABLE, 1);
    let text = fs::read_to_string(place.path("bursts")).unwrap();
    fs::write(place.path("bursts"), &text[..text.len() - 20]).unwrap();
    let done = place.train(&["bursts"], &[]);
    assert_eq!(done.code, 0, "{}", done.error);
    let bursts = 2 * (BURSTS - 1) - 1;
    assert!(
        done.out.starts_with(&format!("bursts: {bursts}, ")),
        "{}",
        done.out
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let place = Place::new();
    place.record("bursts", &PREDICTABLE, 1);
    let failed = |done: Done, error: String| {
        assert_eq!((done.code, done.out.as_str()), (1, ""));
        assert!(done.error.starts_with(&error), "{error}: {}", done.error);
        assert_eq!(done.error.lines().count(), 1, "{}", done.error);
    };
    let text = fs::read_to_string(place.path("bursts")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[4] = r#"{"burst":{"at_ns":-1}}"#;
    fs::write(place.path("odd"), lines.join("\n")).unwrap();
    let error = format!("Error: {}:5: error: column ", place.word("odd"));
    failed(place.train(&["bursts", "odd"], &[]), error);
    let error = format!("Error: {}:1: error: cannot be read: ", place.word("none"));
    failed(place.train(&["none"], &[]), error);
    let elsewhere = text.replacen("6.18.0", "7.2.0", 1);
    fs::write(place.path("elsewhere"), elsewhere).unwrap();
    let error = format!("Error: {}: recorded on another", place.word("elsewhere"));
    failed(place.train(&["bursts", "elsewhere"], &[]), error);
    assert_eq!(place.model(), None);

    fs::write(place.path("model.json"), "{\"format\":1").unwrap();
    let error = format!("Error: {}: ", place.word("model.json"));
    failed(place.train(&["bursts"], &[]), error.clone());
    let model = place.word("model.json");
    failed(foresight(&["export", &model]), error);
    let missing = place.word("missing.json");
    let error = format!("Error: {missing}: there is no such file");
    failed(foresight(&["export", &missing]), error);
}

#[test]
fn what_cannot_be_meant_is_bad_usage() {
    for words in [
        &["train"][..],
        &["train", "a"],
        &["train", "--out", "b"],
        &["train", "a", "--out", "b", "--seed", "x"],
        &["export"],
        &["export", "a", "--format", "xml"],
    ] {
        let done = foresight(words);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{words:?}");
    }
}
