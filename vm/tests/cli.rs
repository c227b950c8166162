//! The program, as somebody calls it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn plan(scenario: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auto-ext-vm"));
    command
        .args(["plan", "--scenario"])
        .arg(scenario)
        .output()
        .expect("the program was built for this test")
}

fn crowded() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/crowded.yaml");
    fs::read_to_string(path).expect("it is beside this file")
}

#[test]
fn what_would_be_done_on_a_host_is_told_with_its_reasons() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("crowded.yaml");
    fs::write(&path, crowded()).unwrap();
    let output = plan(&path);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.starts_with("at the beginning: sigma 100.0\n"),
        "{said}"
    );
    assert!(
        said.contains("window 2: vCPUs: 2 pinned and 0 to come"),
        "{said}"
    );
    assert!(said.contains("at the end: sigma 0.0, 0 lost\n"), "{said}");
    assert!(
        said.contains("\nmail: its memory is left alone: no balloon\n"),
        "{said}"
    );
    assert!(said.contains("  build: 612 MiB\n"), "{said}");
}

#[test]
fn what_is_wrong_with_a_scenario_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wrong.yaml");
    let text = crowded();
    for (text, expected) in [
        (text.replace("at: [0]}", "on: [0]}"), "line 14"),
        (
            text.replace("windows: 40", "windows: 0"),
            "windows: 1 to 10000, and not 0",
        ),
        (text.replacen("at: [0]", "at: [2]", 1), "there is no CPU 2"),
        (
            text.replace("name: web", "name: build"),
            "two guests are called \"build\"",
        ),
        (
            format!("# {}\n", "x".repeat(70_000)),
            "larger than 65536 bytes",
        ),
    ] {
        fs::write(&path, text).unwrap();
        let output = plan(&path);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("wrong.yaml") && said.contains(expected),
            "{said}"
        );
    }
}
