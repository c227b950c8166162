//! The texts of the metrics.

use std::time::Duration;

use auto_ext_core::{KernelState, SignalNow};
use auto_ext_policy::Goal;
use auto_ext_signals::{Level, Signal};
use auto_ext_trials::{ClassStatus, Metric};

use super::counters::Counters;
use super::*;
use crate::api::status::{Current, DaemonStatus};
use crate::persistence::history::{Entry, Kind, Way};

/// What trials found of the kernel's own against itself, and of another.
fn found() -> Vec<ClassStatus> {
    let of = |scheduler: &str, metric, effect| ClassStatus {
        class: "interactive".into(),
        goal: Goal::Latency,
        scheduler: scheduler.into(),
        profile: None,
        effect,
        metric,
        compared: None,
        is_imported: false,
        pairs: 3,
        e_better: None,
        e_worse: None,
        nearest_guard: None,
        is_proven: metric.is_some(),
        since: None,
        closed: None,
        benched_for: None,
        benched_until: None,
        last: Vec::new(),
    };
    vec![
        of("kernel", None, Some(0.1)),
        of("scx_flash -m \"x\"", Some(Metric::Wait), Some(0.0)),
    ]
}

fn snapshot() -> Snapshot {
    let mut counters = Counters::default();
    let switched = |from: &str, to: &str, gap_us| Entry {
        at: 0,
        event: Kind::Switched,
        from: from.into(),
        to: to.into(),
        class: "interactive".into(),
        reason: String::new(),
        error: String::new(),
        way: Some(Way::Hot),
        gap_us: Some(gap_us),
        trial: false,
    };
    counters.count(&switched("kernel", "scx_bpfland", 700));
    counters.count(&switched("scx_bpfland", "kernel", 2_000_000));
    counters.count(&Entry {
        event: Kind::Failed,
        ..switched("kernel", "scx_lavd", 0)
    });
    counters.passed(Duration::from_millis(90_500), "scx_bpfland", "interactive");
    counters.pair("scx_flash", "kept");
    counters.pair("scx_flash", "lost");
    counters.guard("wait");
    counters.tried(Duration::from_secs(7), "scx_flash");
    let signal = |signal, value, level| SignalNow {
        signal,
        value,
        level,
        high: 0.8,
        low: 0.4,
        settle_ms: 500,
    };
    Snapshot {
        current: Current {
            current_scheduler: "odd \"name\"\\\n".into(),
            current_owner: "foreign".into(),
            scheduler_pid: 0,
            instance: None,
            state: KernelState::Disabled,
        },
        status: DaemonStatus {
            scx_loader: None,
            desired_scheduler: "kernel".into(),
            mode: "yielded".into(),
            class: "interactive".into(),
            levels: [].into(),
            signals: [].into(),
            reason: String::new(),
            since: 1_700_000_000_500_000,
            switches: 2,
            quarantined: [("lavd".to_owned(), 1_700_000_030_000_000)].into(),
            last_error: String::new(),
            version: "0.1.0".into(),
            trial: None,
            learning: "off".into(),
        },
        signals: vec![
            signal(Signal::Cpu, Some(0.25), Level::Low),
            signal(Signal::Parallel, Some(1.5), Level::High),
            signal(Signal::Io, None, Level::Unknown),
        ],
        counters,
        found: found(),
        policy_is_valid: true,
        started: 1_699_999_999_000_000,
        cpu_seconds: 0.125,
    }
}

/// With `UPDATE_METRICS=1` the files are written, to be looked at before they are committed.
fn check(name: &str, text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/tests/");
    let path = format!("{path}{name}");
    if std::env::var_os("UPDATE_METRICS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} is now:\n{text}");
}

#[test]
fn the_metrics_are_open_metrics() {
    let text = open_metrics(snapshot());
    check("openmetrics.txt", &text);
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn in_the_older_format_each_line_belongs_to_a_description() {
    let text = prometheus(&open_metrics(snapshot()));
    check("prometheus.txt", &text);
    let described: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let parts = ["_bucket", "_sum", "_count"];
        let histogram = parts.iter().find_map(|part| name.strip_suffix(part));
        let is_described = |name| described.contains(&name);
        assert!(
            is_described(name) || histogram.is_some_and(is_described),
            "{line}"
        );
    }
}
