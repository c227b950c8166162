//! A short run of each kind; `cargo xtask bench smt` makes the long one.

use super::*;

const SEEDS: u64 = 4;

const PLAIN: Scenario = Scenario::plain(6);

fn reports(scenario: Scenario) -> Vec<Report> {
    let reports: Vec<Report> = (0..SEEDS).filter_map(|seed| run(scenario, seed)).collect();
    assert!(!reports.is_empty(), "{scenario:?}");
    for report in &reports {
        assert!(report.trial_share <= 0.04, "{report:?}");
        assert!(report.harm_trying <= 20, "{report:?}");
        assert!(report.much_harm_trying <= 10, "{report:?}");
        assert!(report.harm_adopted <= 90, "{report:?}");
        assert_eq!(report.misplaced, 0, "{report:?}");
        assert!(report.masks_outside <= 10, "{report:?}");
    }
    reports
}

fn proven(reports: &[Report]) -> usize {
    reports.iter().filter(|report| report.proven).count()
}

#[test]
fn what_gains_much_is_adopted() {
    for (jobs, correlation) in [(4, 0.0), (8, 0.5), (16, 0.0)] {
        let reports = reports(Scenario {
            jobs,
            correlation,
            ..PLAIN
        });
        assert!(proven(&reports) + 1 >= reports.len(), "{reports:?}");
        assert!(
            reports.iter().any(|report| report.gain > 0.01),
            "{reports:?}"
        );
    }
}

#[test]
fn what_gains_nothing_is_not_adopted() {
    for noise in [0.01, 0.05] {
        let reports = reports(Scenario {
            gain: Gain::None,
            noise,
            ..PLAIN
        });
        assert_eq!(proven(&reports), 0, "{reports:?}");
        // The model errs, so that there is something to try.
        assert!(
            reports.iter().any(|report| report.trials > 0),
            "{reports:?}"
        );
    }
}

#[test]
fn jobs_that_change_come_and_go_are_never_harmed_for_long() {
    reports(Scenario {
        phases: true,
        ..PLAIN
    });
    reports(Scenario {
        comes_and_goes: true,
        ..PLAIN
    });
}

#[test]
fn nothing_is_adopted_by_counters_that_lie_and_nothing_tried_without_any() {
    let lying = reports(Scenario {
        counting: Counting::Lying,
        ..PLAIN
    });
    assert_eq!(proven(&lying), 0, "{lying:?}");
    let absent = reports(Scenario {
        counting: Counting::Absent,
        ..PLAIN
    });
    assert!(absent.iter().all(|report| report.trials == 0), "{absent:?}");
}
