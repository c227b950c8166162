//! What is promised of predictions, on tasks that are made up.

use super::run::{run, run_as_one, run_known, run_with};
use super::source::Kind;
use crate::line::Programs;
use crate::score::Scores;

const BURSTS: u32 = 6000;
const SETTLE: u32 = 1000;

/// Of the average, and of what was predicted.
fn r2(scores: &Scores) -> [f64; 2] {
    [scores.average, scores.predicted].map(|score| score.r2.unwrap())
}

#[test]
fn bursts_that_alternate_or_follow_the_sleep_before_are_predicted_where_the_average_fails() {
    let planted = [Kind::Alternating, Kind::Coupled(1.0), Kind::Coupled(-1.0)];
    for (kind, score) in planted.iter().zip(run(&planted, BURSTS, SETTLE, 1)) {
        let [average, predicted] = r2(&score);
        assert!(average <= 0.2, "{kind:?}: {average}");
        assert!(predicted >= 0.8, "{kind:?}: {predicted}");
    }
}

#[test]
fn constant_and_random_bursts_are_predicted_as_well_as_by_the_average() {
    for seed in 1..=10 {
        let planted = [Kind::Constant, Kind::Random];
        for (kind, score) in planted.iter().zip(run(&planted, BURSTS, SETTLE, seed)) {
            let ratio = score.ratio();
            assert!(ratio <= 1.05, "{kind:?}, {seed}: {ratio}");
        }
    }
}

#[test]
fn who_does_something_else_from_now_on_is_soon_predicted_again() {
    // The change is among what is scored.
    let score = run(&[Kind::Flipping(3000)], BURSTS, SETTLE, 1)[0];
    let [average, predicted] = r2(&score);
    assert!(average <= 0.2 && predicted >= 0.7, "{average} {predicted}");
    let after = r2(&run(&[Kind::Flipping(3000)], BURSTS, 4500, 1)[0]);
    assert!(after[1] >= 0.8, "{after:?}");
}

/// Most tasks are of one kind; what is true of them is wrong for the others.
fn mixed() -> Vec<Kind> {
    let minority = [Kind::Coupled(-1.0), Kind::Constant, Kind::Random];
    let majority = std::iter::repeat_n(Kind::Coupled(1.0), 24);
    majority
        .chain(minority.into_iter().cycle().take(12))
        .collect()
}

#[test]
fn one_line_for_all_tasks_harms_those_that_are_not_like_most() {
    let scores = run_as_one(&mixed(), BURSTS, 1);
    let worse = scores.iter().filter(|score| score.ratio() > 1.02);
    assert!(worse.count() >= 8);
    let constant = mixed()
        .iter()
        .position(|kind| *kind == Kind::Constant)
        .unwrap();
    assert!(r2(&scores[constant])[1] < -10.0, "{scores:?}");
}

#[test]
fn a_line_for_each_task_with_its_gate_harms_hardly_any() {
    let scores = run(&mixed(), BURSTS, 0, 1);
    let worse = scores.iter().filter(|score| score.ratio() > 1.02).count();
    assert!(worse * 100 <= scores.len() * 3, "{worse}");
    assert!(scores.iter().all(|score| score.ratio() <= 1.05));
    let better = scores.iter().filter(|score| score.ratio() < 0.5);
    assert!(better.count() >= 28);
}

#[test]
fn the_gate_is_there_before_the_next_refit() {
    // The first of these bursts that the line is wrong for, and those until user space notices.
    let changed = [Kind::Flipping(3000); 8];
    let errors = |scores: Vec<Scores>| scores.iter().map(Scores::ratio).sum::<f64>() / 8.0;
    let with = errors(run(&changed, 3080, 3000, 1));
    let without = errors(run_with(|_| true, &changed, 3080, 3000, 1));
    assert!(with < 0.9 * without, "{with} {without}");
}

#[test]
fn short_tasks_begin_with_what_their_program_does_and_are_not_harmed_by_it() {
    let mean = |scores: Vec<Scores>| {
        let ratios: Vec<f64> = scores.iter().map(Scores::ratio).collect();
        ratios.iter().sum::<f64>() / 16.0
    };
    let short = [Kind::Coupled(1.0); 16];
    let mut programs = Programs::default();
    let unknown = mean(run_known(&mut programs, &short, 100));
    run_known(&mut programs, &short, 2000);
    let known = mean(run_known(&mut programs.clone(), &short, 100));
    assert!(known < 0.6 * unknown, "{known} {unknown}");
    // Others of the same name.
    let others = [Kind::Coupled(-1.0), Kind::Random, Kind::Constant];
    for (kind, scores) in others.iter().zip(run_known(&mut programs, &others, 100)) {
        assert!(scores.ratio() <= 1.05, "{kind:?}: {}", scores.ratio());
    }
}

#[test]
fn the_same_seed_leads_to_the_same_run() {
    let ratio = |seed| run(&[Kind::Random], 500, 0, seed)[0].ratio().to_bits();
    assert_eq!(ratio(1), ratio(1));
    assert_ne!(ratio(1), ratio(2));
}
