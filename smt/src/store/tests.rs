//! What is kept is read again, and what is garbled refused.

use super::*;
use crate::core::{MAX_NAME, MAX_SERIES};
use crate::model::{Feature, Pairwise, Resource};

fn job(solo: f64) -> Job {
    Job {
        solo,
        scale: 0.9,
        characteristics: BTreeMap::new(),
    }
}

#[test]
fn what_is_kept_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    assert!(store.jobs().unwrap().is_empty() && store.pairs().unwrap().is_empty());
    assert_eq!(store.model().unwrap(), None);
    let jobs = BTreeMap::from([
        ("/usr/bin/a".to_owned(), job(1.0)),
        ("b".to_owned(), job(2.0)),
    ]);
    store.keep_jobs(&jobs).unwrap();
    let newer = BTreeMap::from([("b".to_owned(), job(3.0))]);
    store.keep_jobs(&newer).unwrap();
    let kept = store.jobs().unwrap();
    assert_eq!((kept["/usr/bin/a"].solo, kept["b"].solo), (1.0, 3.0));
    let beside = BTreeMap::from([("b".to_owned(), 0.7)]);
    let pairs = Combination::from([(
        "b".to_owned(),
        Pairwise {
            single: 1.5,
            beside,
        },
    )]);
    store.keep_pairs(&pairs).unwrap();
    assert_eq!(store.pairs().unwrap(), pairs);
    assert_eq!(store.injectors().unwrap(), None);
    let alone = Alone {
        resource: Resource::L2Cache,
        beside: Some(1),
        ipc: 0.5,
    };
    let baseline = Baseline {
        cpu: "x 1".to_owned(),
        ipc: vec![alone],
    };
    store.keep_injectors(&baseline).unwrap();
    assert_eq!(store.injectors().unwrap(), Some(baseline));
    assert_eq!(store.seen().unwrap(), Passive::default());
    let mut seen = Passive::default();
    seen.add("b", None, 1.5, 1_800_000_000);
    store.keep_seen(&seen).unwrap();
    assert_eq!(store.seen().unwrap(), seen);
}

#[test]
fn the_most_that_may_be_seen_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let mut seen = Passive::default();
    // Each letter takes two when it is written.
    let name = |number: usize| format!("{number:0>4}{}", "\"".repeat(MAX_NAME - 4));
    for number in 0..MAX_SERIES {
        for at in 0..20 {
            let ipc = 1.0 / (3.0 + at as f64);
            seen.add(&name(number), Some(&name(number)), ipc, 1_800_000_000 + at);
        }
    }
    store.keep_seen(&seen).unwrap();
    assert_eq!(store.seen().unwrap(), seen);
}

#[test]
fn the_newest_model_wins_by_its_time_and_not_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let model = |intercept| SlowdownModel::new(vec![Feature::Base], vec![1.0], intercept).unwrap();
    store.keep_model(&model(0.1), 9).unwrap();
    store.keep_model(&model(0.2), 10).unwrap();
    assert_eq!(store.model().unwrap(), Some(model(0.2)));
    for at in 11..30 {
        store.keep_model(&model(0.3), at).unwrap();
    }
    assert_eq!(store.models().unwrap().len(), MAX_MODELS);
    assert_eq!(store.model().unwrap(), Some(model(0.3)));
}

#[test]
fn what_is_garbled_or_too_large_is_refused_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    fs::write(directory.path().join("pairs.jsonl"), "{\n").unwrap();
    assert!(
        store
            .pairs()
            .unwrap_err()
            .to_string()
            .contains("pairs.jsonl")
    );
    let jobs = directory.path().join("jobs");
    fs::create_dir(&jobs).unwrap();
    fs::write(jobs.join("x.json"), " ".repeat(20_000)).unwrap();
    assert!(store.jobs().unwrap_err().to_string().contains("too large"));
}
