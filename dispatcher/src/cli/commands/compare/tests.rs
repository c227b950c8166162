//! The report as text and as JSON, and what it says recomputed from the file with the turns by other means.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use auto_ext_evidence::{Arm, Better};
use serde_json::Value as Json;

use super::comparison::tests::{turn, waits, with};
use super::comparison::{Comparison, Primary, Turns};
use super::csv::{Csv, Row};
use super::end::End;
use super::report::Report;
use super::tuning::tests::tuned;
use super::turn::Turn;
use crate::cli::commands::style::without_styles;

fn command() -> [OsString; 2] {
    ["make".into(), "-j8".into()]
}

fn report<'a>(comparison: &'a Comparison, command: &'a [OsString], end: &'a End) -> Report<'a> {
    Report {
        comparison,
        tuning: None,
        command,
        end,
        took: Duration::from_secs(1143),
        class: None,
        seed: 5,
        unicode: true,
    }
}

fn text(comparison: &Comparison, end: &End) -> String {
    without_styles(|out| report(comparison, &command(), end).write_text(out))
}

fn json(comparison: &Comparison, end: &End) -> Json {
    report(comparison, &command(), end).to_json()
}

/// Compares a text with the file `name`; with `UPDATE_SCREENS=1` the file is written, to be looked at before it is committed.
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/cli/commands/compare/tests")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} is now:\n{text}");
}

/// Times by chance from a seed: about a second under the incumbent, and `times` as long under the challenger.
fn pairs(seed: u64, count: usize, times: f64) -> Vec<(f64, f64)> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut noise = || 1.0 + 0.1 * (chance.f64() - 0.5);
    (0..count).map(|_| (noise(), times * noise())).collect()
}

#[test]
fn what_is_better_is_worth_it_and_has_a_rule() {
    let comparison = with(&["bpfland"], &pairs(1, 10, 0.8));
    check("better", &text(&comparison, &End::Decided));
}

#[test]
fn what_is_worse_is_not_and_what_is_not_known_is_said() {
    let mut comparison = with(&["bpfland", "cosmos", "lavd"], &pairs(2, 8, 1.3));
    let turns = Turns {
        incumbent: turn(1.0),
        challenger: turn(0.99),
    };
    comparison.add(1, turns).unwrap();
    comparison.drop_pair(1, Arm::Incumbent);
    check("worse", &text(&comparison, &End::Time));
}

#[test]
fn who_wins_one_thing_and_loses_another_is_not_worth_it() {
    let mut comparison = with(&["bpfland"], &[]);
    for (seed, (incumbent, challenger)) in pairs(1, 10, 0.8).into_iter().enumerate() {
        let longer = 1.0 + 0.01 * seed as f64;
        let turns = Turns {
            incumbent: waits(turn(incumbent), 2e6),
            challenger: waits(turn(challenger), 3e6 * longer),
        };
        comparison.add(0, turns).unwrap();
    }
    check("at-a-cost", &text(&comparison, &End::Decided));
    let json = json(&comparison, &End::Decided);
    let challenger = &json["challengers"][0];
    assert_eq!(
        (&challenger["verdict"], &json["rule"]),
        (&"better at a cost".into(), &Json::Null)
    );
    let guard = &challenger["guards"][0];
    assert_eq!(
        (&guard["measure"], &guard["lost"]),
        (&"wait_p95_s".into(), &true.into())
    );
    assert_eq!(challenger["measures"]["wait_p95_s"]["incumbent"], 2e-3);
}

#[test]
fn under_the_load_that_runs_waits_are_judged_and_there_is_no_rule_for_a_program() {
    let names = ["bpfland".to_owned()];
    let mut comparison = Comparison::new("kernel".into(), &names, Primary::Waits, 30, 5);
    for (seed, (incumbent, challenger)) in pairs(1, 10, 0.5).into_iter().enumerate() {
        let of = |wait| Turn {
            user: None,
            system: None,
            ..waits(turn(15.0 + seed as f64), 1e6 * wait)
        };
        let turns = Turns {
            incumbent: of(incumbent),
            challenger: of(challenger),
        };
        comparison.add(0, turns).unwrap();
    }
    let end = End::Time;
    let report = report(&comparison, &[], &end);
    check("live", &without_styles(|out| report.write_text(out)));
    let json = report.to_json();
    assert_eq!(
        (&json["judged_by"], &json["live"], &json["rule"]),
        (&"wait_mean_s".into(), &true.into(), &Json::Null)
    );
    assert_eq!(json["challengers"][0]["measures"]["user_s"], Json::Null);
}

#[test]
fn energy_and_instructions_are_told_as_what_they_are() {
    let of = |primary: Primary, energy: f64, instructions: f64| {
        let names = ["bpfland".to_owned()];
        let mut comparison = Comparison::new("kernel".into(), &names, primary, 30, 5);
        let machine = |energy, instructions| {
            let mut turn = turn(10.0);
            turn.machine.energy = Some(energy);
            turn.machine.instructions = Some(instructions);
            turn
        };
        for _ in 0..8 {
            let turns = Turns {
                incumbent: machine(100.0, 2e9),
                challenger: machine(energy, instructions),
            };
            comparison.add(0, turns).unwrap();
        }
        let end = End::Decided;
        let report = report(&comparison, &[], &end);
        let text = without_styles(|out| report.write_text(out));
        (
            text.lines().next().unwrap_or_default().to_owned(),
            report.to_json(),
        )
    };
    let (said, json) = of(Primary::Energy, 80.0, 2e9);
    assert!(
        said.starts_with("bpfland: 20.0 % less energy than kernel"),
        "{said}"
    );
    assert!(said.ends_with("Worth it."), "{said}");
    assert_eq!(
        (&json["judged_by"], &json["better"]),
        (&"energy_j".into(), &"lower".into())
    );
    let (said, json) = of(Primary::Instructions, 100.0, 2.5e9);
    assert!(
        said.starts_with("bpfland: 25.0 % more instructions than kernel"),
        "{said}"
    );
    assert_eq!(json["better"], "higher");
    // Less energy where less is done, by as much, is no win; nor is a little less where less is done.
    let (said, json) = of(Primary::EnergyPerInstruction, 80.0, 1.6e9);
    assert_ne!(json["challengers"][0]["verdict"], "better", "{said}");
    let (said, json) = of(Primary::EnergyPerInstruction, 60.0, 1.6e9);
    assert_eq!(
        json["challengers"][0]["verdict"], "better at a cost",
        "{said}"
    );
}

#[test]
fn a_task_that_starves_is_a_cost_that_is_told() {
    let mut comparison = with(&["bpfland"], &[]);
    for (at, (incumbent, challenger)) in pairs(1, 10, 0.8).into_iter().enumerate() {
        let of = |wall, longest| {
            let mut turn = turn(wall);
            turn.machine.longest_wait = Some(longest);
            turn
        };
        let turns = Turns {
            incumbent: of(incumbent, 0.01),
            challenger: of(challenger, if at == 3 { 1.4 } else { 0.0 }),
        };
        comparison.add(0, turns).unwrap();
    }
    let text = text(&comparison, &End::Decided);
    assert!(
        text.contains("but the longest that a task was seen to wait was 1400ms. Keep kernel"),
        "{text}"
    );
    let guard = &json(&comparison, &End::Decided)["challengers"][0]["guards"][0];
    assert_eq!(
        (&guard["measure"], &guard["lost"], &guard["change"]),
        (&"longest_wait_s".into(), &true.into(), &Json::Null)
    );
}

#[test]
fn of_arguments_it_is_told_how_all_did_and_how_good_the_best_is() {
    let tuning = tuned();
    let comparison = with(&["bpfland -s 20000"], &pairs(1, 10, 0.8));
    let (command, end) = (command(), End::Decided);
    let report = Report {
        tuning: Some(&tuning),
        ..report(&comparison, &command, &end)
    };
    check("tuned", &without_styles(|out| report.write_text(out)));
    let json = report.to_json();
    assert_eq!(json["tuned"][0]["args"][1], "20000");
    assert_eq!(json["tuned"][3]["score"], Json::Null);
    assert_eq!(json["rule"], Json::Null);
}

#[test]
fn no_difference_worth_having_is_a_result() {
    let comparison = with(&["bpfland"], &pairs(3, 30, 1.0));
    let text = text(&comparison, &End::Decided);
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("bpfland: no difference from kernel worth having, "),
        "{first}"
    );
    assert!(first.ends_with(", 30 pairs. Keep kernel."), "{first}");
    assert!(!text.contains("policies.yaml"));
}

#[test]
fn what_may_be_worth_having_and_is_not_proven_is_not_called_no_difference() {
    let turns = |number: usize| (1.0, if number.is_multiple_of(3) { 1.3 } else { 0.75 });
    let pairs: Vec<_> = (0..30).map(turns).collect();
    let comparison = with(&["bpfland"], &pairs);
    let text = text(&comparison, &End::Decided);
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.ends_with(", but 30 pairs do not prove it. Keep kernel."),
        "{first}"
    );
    assert!(first.contains("faster than kernel (95 %: "), "{first}");
}

#[test]
fn numbers_of_the_output_are_judged_as_they_are_better() {
    let primary = Primary::Number {
        expression: "fps".into(),
        better: Better::Higher,
    };
    let names = ["bpfland".to_owned()];
    let mut comparison = Comparison::new("kernel".into(), &names, primary, 30, 5);
    let of = |value| Turn {
        value: Some(value),
        ..turn(1.0)
    };
    for _ in 0..8 {
        let turns = Turns {
            incumbent: of(50.0),
            challenger: of(60.0),
        };
        comparison.add(0, turns).unwrap();
    }
    let text = text(&comparison, &End::Decided);
    assert!(
        text.starts_with("bpfland: 20.0 % better than kernel"),
        "{text}"
    );
    let row = "  number              50.00        60.00  +20.0 % (95 %: 20.0 to 20.0)\n";
    assert!(text.contains(row), "{text}");
}

#[test]
fn what_names_say_does_not_steer_a_terminal() {
    let comparison = with(&["a\u{1b}[2J"], &pairs(1, 3, 0.8));
    let text = text(&comparison, &End::Runs);
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// Of all sums of signed ranks by all signs how many are at most so low; for few pairs, without a formula.
fn interval_by_counting(ratios: &[f64]) -> (f64, f64) {
    let pairs = u32::try_from(ratios.len()).unwrap();
    let all = 1u32 << pairs;
    let sum = |signs: u32| {
        (0..pairs)
            .filter(|at| signs >> at & 1 == 1)
            .map(|at| at + 1)
            .sum::<u32>()
    };
    let at_most = |most: u32| (0..all).filter(|signs| sum(*signs) <= most).count();
    let below = (0..).take_while(|most| at_most(*most) as f64 / f64::from(all) <= 0.025);
    let outside = below.count() - 1;
    let mut means = Vec::new();
    for (at, a) in ratios.iter().enumerate() {
        for b in &ratios[..=at] {
            means.push((a + b) / 2.0);
        }
    }
    means.sort_by(|a, b| a.partial_cmp(b).unwrap());
    (means[outside], means[means.len() - 1 - outside])
}

/// The middle: as many are below as above.
fn middle(numbers: &[f64]) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let count = numbers.len();
    (numbers[(count - 1) / 2] + numbers[count / 2]) / 2.0
}

/// The e-value for that the ratios are above the margin, as a sum of exponentials.
fn e_value(ratios: &[f64], sign: f64) -> f64 {
    let margin = 1.03f64.ln();
    let mut total = 0.0;
    let bets: &[(f64, f64)] = if sign > 0.0 {
        &[(0.5, 0.3), (0.75, 0.7)]
    } else {
        &[(0.85, 1.0)]
    };
    for &(share, weight) in bets {
        let mut logarithm = f64::ln(weight);
        for (at, ratio) in ratios.iter().enumerate() {
            let before = &ratios[..at];
            let scale = if at < 5 {
                0.15
            } else {
                let center = middle(before);
                let far: Vec<f64> = before.iter().map(|ratio| (ratio - center).abs()).collect();
                f64::max(0.05, 1.25 * 1.48 * middle(&far))
            };
            let x = ((sign * ratio - margin) / scale).clamp(-1.0, 1.0);
            logarithm += f64::ln(1.0 + share * x);
        }
        total += logarithm.exp();
    }
    total
}

#[test]
fn what_is_reported_can_be_recomputed_from_the_file() {
    for (seed, times) in [(1, 0.8), (2, 1.0), (3, 1.02), (4, 1.3)] {
        let times = pairs(seed, 12, times);
        let comparison = with(&["bpfland"], &times);
        let mut file = Vec::new();
        let mut csv = Csv::begin(&mut file).unwrap();
        for (number, (incumbent, challenger)) in times.iter().enumerate() {
            let row = |scheduler, wall| Row {
                scheduler,
                turn: Some(turn(wall)),
            };
            let mut rows = [row("kernel", *incumbent), row("bpfland", *challenger)];
            if number % 2 == 1 {
                rows.reverse();
            }
            csv.pair("bpfland", &rows, None).unwrap();
            csv.pair("bpfland", &rows[..1], Some("of no account"))
                .unwrap();
        }

        let text = String::from_utf8(file).unwrap();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(1)
            .map(|line| line.split(',').collect())
            .collect();
        let dropped = |row: &&Vec<&str>| !row.last().unwrap().is_empty();
        let counted: Vec<&Vec<&str>> = rows.iter().filter(|row| !dropped(row)).collect();
        let ratios: Vec<f64> = counted
            .chunks(2)
            .map(|pair| {
                let of = |name: &str| {
                    let row = pair.iter().find(|row| row[3] == name).unwrap();
                    row[4].parse::<f64>().unwrap()
                };
                (of("kernel") / of("bpfland")).ln()
            })
            .collect();
        assert_eq!(ratios.len(), 12);

        let json = json(&comparison, &End::Runs);
        let challenger = &json["challengers"][0];
        let number = |value: &Json| value.as_f64().unwrap();
        let (low, high) = interval_by_counting(&ratios);
        let mut means = Vec::new();
        for (at, a) in ratios.iter().enumerate() {
            means.extend(ratios[at..].iter().map(|b| (a + b) / 2.0));
        }
        for (reported, recomputed) in [
            (&challenger["effect"]["median"], middle(&means)),
            (&challenger["effect"]["low"], low),
            (&challenger["effect"]["high"], high),
            (&challenger["e_better"], e_value(&ratios, 1.0)),
            (&challenger["e_worse"], e_value(&ratios, -1.0)),
        ] {
            let difference = (number(reported) / recomputed - 1.0).abs();
            assert!(
                difference < 1e-9,
                "{reported}, and by other means {recomputed}"
            );
        }
    }
}

#[test]
fn the_json_says_how_it_ended_and_what_scripts_need() {
    let comparison = with(&["bpfland"], &pairs(1, 2, 0.8));
    let end = End::Failed(anyhow::anyhow!("the limit is reached"));
    let json = json(&comparison, &end);
    assert_eq!(
        (&json["ended"], &json["error"]),
        (&"failed".into(), &"the limit is reached".into())
    );
    assert_eq!(
        (&json["judged_by"], &json["rule"]),
        (&"wall_s".into(), &Json::Null)
    );
    let challenger = &json["challengers"][0];
    assert_eq!(
        (&challenger["verdict"], &challenger["pairs"]),
        (&"open".into(), &2.into())
    );
    assert_eq!(challenger["effect"]["low"], Json::Null);
    assert_eq!(challenger["log_ratios"].as_array().map(Vec::len), Some(2));
    assert_eq!(challenger["dropped"]["challenger"], 0);
}
