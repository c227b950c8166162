//! Turns that are made up.

use super::*;

/// A turn of two groups, whose speeds alternate by a little.
fn turn(one: f64, other: f64) -> Turn {
    let window = |at: usize| {
        let noise = if at.is_multiple_of(2) { 1.005 } else { 0.995 };
        vec![Some(one * noise), Some(other / noise)]
    };
    Turn {
        speeds: (0..8).map(window).collect(),
        delays: vec![Some(0.1); 2],
    }
}

/// What a candidate did in one turn.
fn of_one(before: &Turn, tried: &Turn, after: &Turn, weights: &[f64]) -> Result<Effect, Unusable> {
    effect(&[before, tried, after].map(Turn::clone), &[1], weights)
}

#[test]
fn a_gain_is_relative_to_both_turns_around_it() {
    // Everything gets 2 % faster from turn to turn.
    let effect = of_one(
        &turn(1.0, 2.0),
        &turn(1.122, 2.244),
        &turn(1.04, 2.08),
        &[1.0; 2],
    );
    let effect = effect.unwrap();
    assert!((effect.gain - 0.1).abs() < 1e-3, "{effect:?}");
    assert!(
        effect.lower > 0.09 && effect.lower < effect.gain,
        "{effect:?}"
    );
    assert_eq!(effect.harm, None);
}

#[test]
fn turns_of_one_candidate_count_together_and_what_changes_evenly_cancels_out() {
    // Everything gets 1 % faster from turn to turn; the candidate at the first and the third gains 10 %, another one nothing.
    let turns: Vec<Turn> = (0..7)
        .map(|at| {
            let speed = (1.0 + 0.01 * f64::from(at)) * if at == 1 || at == 5 { 1.1 } else { 1.0 };
            turn(speed, speed)
        })
        .collect();
    let one = effect(&turns, &[1], &[3.0, 1.0]).unwrap();
    let both = effect(&turns, &[1, 5], &[3.0, 1.0]).unwrap();
    assert!((one.gain - 0.1).abs() < 1e-3, "{one:?}");
    assert!((both.gain - 0.1).abs() < 1e-3, "{both:?}");
    assert!(both.gain - both.lower < one.gain - one.lower, "{both:?}");
    assert!(effect(&turns, &[3], &[3.0, 1.0]).unwrap().gain.abs() < 1e-3);
    assert_eq!(effect(&turns, &[7], &[3.0, 1.0]), Err(Unusable::Nothing));
    assert_eq!(effect(&turns, &[], &[3.0, 1.0]), Err(Unusable::Nothing));
}

#[test]
fn who_does_something_else_at_the_end_says_nothing() {
    let result = of_one(&turn(1.0, 1.0), &turn(1.3, 1.2), &turn(1.3, 1.0), &[1.0; 2]);
    assert_eq!(result, Err(Unusable::Changed(0)));
}

#[test]
fn weights_say_whose_speed_counts() {
    let of = |weights| {
        of_one(&turn(1.0, 1.0), &turn(1.2, 1.0), &turn(1.0, 1.0), weights)
            .unwrap()
            .gain
    };
    assert!((of(&[1.0, 1.0]) - 0.1).abs() < 1e-3);
    assert!((of(&[4.0, 1.0]) - 0.16).abs() < 1e-3);
}

#[test]
fn who_loses_much_or_waits_longer_is_harmed_whatever_the_gain() {
    let found = turn(1.0, 1.0);
    let harm = |candidate| of_one(&found, &candidate, &found, &[1.0; 2]).unwrap().harm;
    assert!(matches!(harm(turn(1.5, 0.9)), Some(Harm::Slower(1, _))));
    assert_eq!(harm(turn(1.5, 0.96)), None);
    let waits = Turn {
        delays: vec![Some(0.1), Some(0.2)],
        ..turn(1.5, 1.0)
    };
    assert!(matches!(harm(waits), Some(Harm::Waits(1, _))));
}

#[test]
fn what_was_not_measured_is_no_gain() {
    let found = turn(1.0, 1.0);
    let silent = Turn {
        speeds: vec![vec![Some(1.0), None]; 8],
        ..found.clone()
    };
    let result = of_one(&found, &silent, &found, &[1.0; 2]);
    assert_eq!(result, Err(Unusable::TooLittle(1)));
    let nothing = of_one(&found, &found, &found, &[]);
    assert_eq!(nothing, Err(Unusable::Nothing));
    assert_eq!(gain_so_far(&found, &Turn::default(), &[1.0; 2]), None);
}

#[test]
fn what_is_now_fast_and_now_slow_says_nothing() {
    let found = turn(1.0, 1.0);
    let mut wild = turn(1.2, 1.2);
    for (at, window) in wild.speeds.iter_mut().enumerate() {
        window[0] = Some(if at.is_multiple_of(2) { 0.8 } else { 1.6 });
    }
    let result = of_one(&found, &wild, &found, &[1.0; 2]);
    assert_eq!(result, Err(Unusable::TooNoisy(0)));
}

#[test]
fn a_candidate_that_is_far_worse_is_cut() {
    let found = turn(1.0, 1.0);
    assert!(is_to_be_cut(&found, &turn(0.88, 0.88), &[1.0; 2]));
    assert!(!is_to_be_cut(&found, &turn(0.92, 0.92), &[1.0; 2]));
}

#[test]
fn students_numbers_are_those_of_the_tables() {
    for (freedom, number) in [
        (1.0, 6.314),
        (2.0, 2.920),
        (4.0, 2.132),
        (8.0, 1.860),
        (20.0, 1.725),
    ] {
        assert!(
            (student(freedom) - number).abs() < 0.02,
            "{freedom}: {}",
            student(freedom)
        );
    }
    assert!((student(1e9) - 1.645).abs() < 1e-3);
}

/// How wide the bound has to be: with what a turn has, at 5 %.
#[test]
fn a_bound_holds_as_often_as_it_says_also_of_what_follows_closely() {
    for (correlation, most) in [(0.0, 0.07), (0.5, 0.09), (0.7, 0.12)] {
        let mut chance = fastrand::Rng::with_seed(7);
        let mut normal = move || {
            let sum: f64 = (0..12).map(|_| chance.f64()).sum();
            sum - 6.0
        };
        let runs = 4000;
        let mut wrong = 0;
        for _ in 0..runs {
            let mut state = normal();
            let mut turn = || {
                let mut window = || {
                    state =
                        correlation * state + (1.0 - f64::powi(correlation, 2)).sqrt() * normal();
                    vec![Some(1.0 + 0.02 * state)]
                };
                let windows: Vec<_> = (0..10).map(|_| window()).collect();
                Turn {
                    speeds: windows[2..].to_vec(),
                    delays: vec![None],
                }
            };
            let (before, tried, after) = (turn(), turn(), turn());
            wrong += i32::from(of_one(&before, &tried, &after, &[1.0]).unwrap().lower > 0.0);
        }
        let share = f64::from(wrong) / f64::from(runs);
        println!("correlation {correlation}: {share}");
        assert!(share <= most, "{correlation}: {share}");
    }
}
