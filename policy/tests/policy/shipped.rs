//! What is said and done by the policy that is shipped.

use std::time::Duration;

use auto_ext_policy::known;
use auto_ext_policy::{Candidate, Checked, Foreign, Policy, Stability};
use auto_ext_signals::{Signal, Thresholds};

use crate::{SHIPPED, uncommented, with};

#[test]
fn fuzzing_begins_with_the_policy_that_is_shipped() {
    let shipped = include_str!("../../../fuzz/corpus/policy/shipped.yaml");
    assert_eq!(shipped, SHIPPED);
    let uncommented_there = include_str!("../../../fuzz/corpus/policy/shipped-uncommented.yaml");
    assert_eq!(uncommented_there, uncommented());
}

#[test]
fn the_shipped_policy_has_seven_classes_that_all_end_in_the_kernel() {
    let policy = Policy::parse("policies.yaml", SHIPPED).unwrap();
    let classes: Vec<_> = policy
        .rules
        .iter()
        .map(|rule| rule.class.as_str())
        .collect();
    let expected = [
        "interactive",
        "network",
        "io",
        "memory",
        "parallel",
        "cpu",
        "idle",
    ];
    assert_eq!(classes, expected);
    for rule in &policy.rules {
        assert_eq!(
            rule.candidates.last(),
            Some(&Candidate::Kernel),
            "{}",
            rule.class
        );
    }
    assert_eq!(policy.window, Duration::from_millis(250));
    assert_eq!(policy.foreign, Foreign::default());
    assert_eq!(policy.signals, Thresholds::default());
    assert_eq!(policy.stability, Stability::default());
    assert_eq!(policy.stability.min_run, Duration::from_secs(15));
    assert_eq!(policy.stability.settle, Duration::from_secs(1));
    assert_eq!(policy.stability.max_switches_per_hour, 30);
}

#[test]
fn the_shipped_policy_picks_by_itself_only_what_is_fit_for_it() {
    let policy = Policy::parse("F", SHIPPED).unwrap();
    for candidate in policy.rules.iter().flat_map(|rule| &rule.candidates) {
        if let Candidate::Scheduler(scheduler) = candidate {
            let known = known::by_name(&scheduler.command).unwrap();
            assert!(known.automatic, "{}", known.command);
        }
    }
}

#[test]
fn the_shipped_policy_has_no_warnings_and_neither_has_it_with_all_its_examples() {
    let shipped = Checked::parse("F", SHIPPED).unwrap();
    assert_eq!(shipped.warnings, []);
    let all = Checked::parse("F", &uncommented()).unwrap();
    assert_eq!(all.warnings, []);
    assert_eq!(all.policy.signals, shipped.policy.signals);
    let examples = [
        "game",
        "launched-game",
        "database",
        "build",
        "virtual-machines",
        "fast-on-battery",
        "battery",
    ];
    let classes = all.policy.rules.iter().map(|rule| rule.class.as_str());
    assert_eq!(classes.take(examples.len()).collect::<Vec<_>>(), examples);
}

#[test]
fn the_comments_of_the_shipped_policy_tell_the_truth() {
    let shown: String = SHIPPED
        .lines()
        .filter_map(|line| line.strip_prefix("  #"))
        .filter(|line| line.contains("settle: "))
        .map(|line| format!("  {line}\n"))
        .collect();
    assert_eq!(shown.lines().count(), Signal::ALL.len());
    let policy = Policy::parse("F", &with(&format!("signals:\n{shown}"))).unwrap();
    assert_eq!(policy.signals, Thresholds::default());
    for known in known::ALL {
        let name = known.name();
        assert!(SHIPPED.contains(&format!(" {name},")) || SHIPPED.contains(&format!(" {name}.")));
    }
}

#[test]
fn every_scheduler_on_trial_in_the_shipped_policy_can_be_used_as_a_candidate() {
    for (trial, binary) in [
        ("bpfland-throughput", "scx_bpfland"),
        ("bpfland-powersave", "scx_bpfland"),
        ("lavd-performance", "scx_lavd"),
        ("lavd-server", "scx_lavd"),
        ("beerland", "scx_beerland"),
        ("flash", "scx_flash"),
        ("ml", "scx_foresight"),
    ] {
        assert!(SHIPPED.contains(trial), "{trial}");
        let text = uncommented().replace("use: [kernel]", &format!("use: [{trial}, kernel]"));
        let policy = Policy::parse("F", &text).unwrap();
        let Candidate::Scheduler(scheduler) = &policy.rules.last().unwrap().candidates[0] else {
            panic!("{trial} is not a scheduler");
        };
        assert_eq!(scheduler.command, binary);
    }
}
