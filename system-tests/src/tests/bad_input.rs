//! Bad input gets a clear error and loses nothing.

use std::fs;

use anyhow::{Context as _, ensure};

use crate::policy;
use crate::service::{self, Bus};

pub(super) fn bad_policies_are_refused() -> anyhow::Result<()> {
    let file = "/tmp/bad.yaml";
    let bomb = format!(
        "version: 1\na: &a [x]\n{}",
        (0..30)
            .map(|n| format!("b{n}: &b{n} [*a, *a, *a, *a]\n"))
            .collect::<String>()
    );
    let valid_rule = "rules: [{class: idle, use: [kernel]}]\n";
    let big = format!("version: 1\n{valid_rule}# {}\n", "x".repeat(10 << 20));
    let cases = [
        (
            "unknown key",
            format!("version: 1\nrulez: 1\n{valid_rule}"),
            "2:1",
        ),
        (
            "wrong type",
            format!("version: 1\nwindow: [1]\n{valid_rule}"),
            "2:9",
        ),
        (
            "unknown scheduler",
            "version: 1\nrules: [{class: a, use: [bpflnd]}]\n".into(),
            "2:26",
        ),
        ("empty file", String::new(), "1:1"),
        ("10 MB file", big, "1:1"),
        ("YAML bomb", bomb, "2:4"),
    ];
    for (what, text, place) in cases {
        fs::write(file, text)?;
        let output = service::output(&format!("auto-ext check {file}"))?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{what}: {}", output.status);
        ensure!(
            error.starts_with(&format!("{file}:{place}: error: ")),
            "{what}: {error}"
        );
        ensure!(
            error.len() < 4096,
            "{what}: {} bytes of errors",
            error.len()
        );
    }
    Ok(())
}

pub(super) fn an_invalid_policy_does_not_stop_the_service() -> anyhow::Result<()> {
    policy::write("version: 1\nrulez: []\n")?;
    service::restart()?;
    let bus = Bus::connect()?;
    let error = bus.string("LastError");
    ensure!(
        error.starts_with("/etc/auto-ext/policies.yaml:2:1: error: "),
        "{error}"
    );
    ensure!(bus.string("CurrentScheduler") == "kernel");
    ensure!(bus.string("DesiredScheduler") == "kernel");

    // What fails meanwhile does not make it valid.
    let refused = service::output("auto-ext pin bpfland -- --nonsense")?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    let both = bus.string("LastError");
    ensure!(
        both.starts_with("bpfland: ") && both.ends_with(&error),
        "{both}"
    );
    let quarantined = service::busctl("Quarantined")?;
    ensure!(
        quarantined.contains("\"scx_bpfland --nonsense\""),
        "{quarantined}"
    );
    ensure!(!is_valid()?, "an invalid policy is called valid");
    policy::write(policy::QUIET)?;
    service::say("auto-ext reload")?;
    ensure!(is_valid()?, "a mended policy is called invalid");
    let error = bus.string("LastError");
    ensure!(!error.contains("policies.yaml"), "{error}");
    Ok(())
}

/// Whether the metrics call the policy valid.
fn is_valid() -> anyhow::Result<bool> {
    let metrics = service::say("auto-ext metrics --format prometheus")?;
    let valid = metrics
        .lines()
        .find_map(|line| line.strip_prefix("auto_ext_policy_valid "));
    Ok(valid.context("it is not told")?.parse::<f64>()? == 1.0)
}
