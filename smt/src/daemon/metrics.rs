//! The same as in the status, and what only grows, in the text format of OpenMetrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::status::{COUNTED, Status};

/// What only grows while the daemon runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) adopted: u64,
    pub(super) fruitless: u64,
    pub(super) aborted: u64,
    pub(super) restores: u64,
    pub(super) foreign: u64,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Job {
    job: String,
    group: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Pair {
    job: String,
    beside: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Result {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Mode {
    mode: &'static str,
}

/// How many slowdowns there are at most.
const MAX_PAIRS: usize = 256;

type Number = Gauge<f64, AtomicU64>;

/// All of them, as text.
pub(super) fn metrics(status: &Status, totals: &Totals, pinned: usize) -> String {
    let mut registry = Registry::with_prefix("auto_ext_smt");
    let speeds = Family::<Job, Number>::default();
    for group in &status.groups {
        if let Some(speed) = group.speed {
            let job = Job {
                job: group.job.clone(),
                group: group.group.clone(),
            };
            speeds.get_or_create(&job).set(speed);
        }
    }
    registry.register(
        "ipc",
        "How fast each group was when it was counted last",
        speeds,
    );
    alone_and_beside(&mut registry, status);
    let gain = Number::default();
    gain.set(status.gain.unwrap_or_default());
    registry.register(
        "gain",
        "What the placement that was adopted gains, in parts",
        gain,
    );
    let trials = Family::<Result, Counter>::default();
    for (result, count) in [
        ("adopted", totals.adopted),
        ("fruitless", totals.fruitless),
        ("aborted", totals.aborted),
    ] {
        trials.get_or_create(&Result { result }).inc_by(count);
    }
    registry.register("trials", "Trials that ended", trials);
    let threads: Gauge = Gauge::default();
    threads.set(i64::try_from(pinned).unwrap_or(i64::MAX));
    registry.register("pinned_threads", "Threads that were given cores", threads);
    for (name, help, count) in [
        (
            "restores",
            "How often what was placed was undone",
            totals.restores,
        ),
        (
            "foreign_changes",
            "How often somebody else placed a group",
            totals.foreign,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
    let valid: Gauge = Gauge::default();
    valid.set(i64::from(status.pmu == COUNTED));
    registry.register("pmu_valid", "Whether the counters are believed", valid);
    let modes = Family::<Mode, Gauge>::default();
    let mode = status.mode_word();
    modes.get_or_create(&Mode { mode }).set(1);
    registry.register("mode", "What is under way", modes);
    let mut text = String::new();
    encode(&mut text, &registry).expect("a text takes all that is written to it");
    text
}

/// What is known of each job alone and beside others.
fn alone_and_beside(registry: &mut Registry, status: &Status) {
    let (solo, slowdowns) = (
        Family::<Job, Number>::default(),
        Family::<Pair, Number>::default(),
    );
    let mut pairs = 0;
    for group in &status.groups {
        if let Some(ipc) = group.solo {
            let job = Job {
                job: group.job.clone(),
                group: group.group.clone(),
            };
            solo.get_or_create(&job).set(ipc);
        }
        for (beside, slowdown) in &group.slowdown {
            if pairs == MAX_PAIRS {
                break;
            }
            pairs += 1;
            let pair = Pair {
                job: group.job.clone(),
                beside: beside.clone(),
            };
            slowdowns.get_or_create(&pair).set(*slowdown);
        }
    }
    registry.register(
        "solo_ipc",
        "Instructions per cycle of each group alone on its cores, as it was seen",
        solo,
    );
    registry.register(
        "slowdown",
        "Which part of its speed a job was seen to lose beside another",
        slowdowns,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core;
    use crate::daemon::GroupStatus;

    #[test]
    fn what_is_shown_is_there_as_numbers() {
        let group = GroupStatus {
            job: "a \"b\".service".to_owned(),
            group: "/a".to_owned(),
            busy: 1.0,
            workers: 1,
            left_alone: None,
            speed: Some(1.25),
            unavailable: None,
            solo: Some(1.5),
            slowdown: [("c.service".to_owned(), 0.25)].into(),
            cpus: None,
        };
        let status = Status {
            mode: core::Mode::Active,
            reason: String::new(),
            pmu: "ok".to_owned(),
            gain: Some(0.05),
            since_us: 0,
            groups: vec![group],
        };
        let totals = Totals {
            adopted: 2,
            foreign: 1,
            ..Totals::default()
        };
        let text = metrics(&status, &totals, 7);
        for line in [
            r#"auto_ext_smt_ipc{job="a \"b\".service",group="/a"} 1.25"#,
            r#"auto_ext_smt_solo_ipc{job="a \"b\".service",group="/a"} 1.5"#,
            r#"auto_ext_smt_slowdown{job="a \"b\".service",beside="c.service"} 0.25"#,
            "auto_ext_smt_gain 0.05",
            r#"auto_ext_smt_trials_total{result="adopted"} 2"#,
            "auto_ext_smt_pinned_threads 7",
            "auto_ext_smt_restores_total 0",
            "auto_ext_smt_foreign_changes_total 1",
            "auto_ext_smt_pmu_valid 1",
            r#"auto_ext_smt_mode{mode="active"} 1"#,
        ] {
            assert!(text.lines().any(|there| there == line), "{line} in {text}");
        }
    }
}
